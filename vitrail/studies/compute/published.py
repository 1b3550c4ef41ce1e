"""The paper's Table 6: what models reach after pre-training on JFT-300M, and what that cost (2010.11929, figure 5)."""

from __future__ import annotations

from typing import NamedTuple

from vitrail.models.names import family_of
from vitrail.studies.compute.frontier import Trained

IMAGES = 303_000_000
"""Of JFT-300M, once through, by which the paper's own exaFLOPs come out."""

DATA_SETS = "ImageNet, CIFAR-10, CIFAR-100, Pets and Flowers"


class Published(NamedTuple):
    """Accuracies in percent after fine-tuning; `exaflops` of pre-training."""

    model: str
    epochs: int
    imagenet: float
    cifar10: float
    cifar100: float
    pets: float
    flowers: float
    exaflops: float

    @property
    def mean(self) -> float:
        return (self.imagenet + self.cifar10 + self.cifar100 + self.pets + self.flowers) / 5


TABLE_6 = (
    Published("B/32", 7, 80.73, 98.61, 90.49, 93.40, 99.27, 55),
    Published("B/16", 7, 84.15, 99.00, 91.87, 95.80, 99.56, 224),
    Published("L/32", 7, 84.37, 99.19, 92.52, 95.83, 99.45, 196),
    Published("L/16", 7, 86.30, 99.38, 93.46, 96.81, 99.66, 783),
    Published("L/16", 14, 87.12, 99.38, 94.04, 97.11, 99.56, 1567),
    Published("H/14", 14, 88.08, 99.50, 94.71, 97.11, 99.71, 4262),
    Published("R50x1", 7, 77.54, 97.67, 86.07, 91.11, 94.26, 50),
    Published("R50x2", 7, 82.12, 98.29, 89.20, 93.43, 97.02, 199),
    Published("R101x1", 7, 80.67, 98.48, 89.17, 94.08, 95.95, 96),
    Published("R152x1", 7, 81.88, 98.82, 90.22, 94.17, 96.94, 141),
    Published("R152x2", 7, 84.97, 99.06, 92.05, 95.37, 98.62, 563),
    Published("R152x2", 14, 85.56, 99.24, 91.92, 95.75, 98.75, 1126),
    Published("R200x3", 14, 87.22, 99.34, 93.53, 96.32, 99.04, 3306),
    Published("R50+B/32", 7, 84.90, 99.01, 92.24, 95.75, 99.46, 106),
    Published("R50+B/16", 7, 85.58, 99.14, 92.63, 96.65, 99.40, 274),
    Published("R50+L/32", 7, 85.68, 99.24, 92.93, 96.97, 99.43, 246),
    Published("R50+L/16", 7, 86.60, 99.18, 93.64, 97.03, 99.40, 859),
    Published("R50+L/16", 14, 87.12, 99.31, 93.89, 97.36, 99.11, 1668),
)


def published() -> list[Trained]:
    """The table as a study has it: the error is that of the mean accuracy."""
    return [Trained(family_of(row.model), row.model, f"{row.epochs} epochs", row.exaflops, (1 - row.mean / 100,),
                    row.epochs * IMAGES) for row in TABLE_6]
