"""What every objective is. The loop knows nothing else about what is being learned.

Its parameters beside those of `model` (a mask token, a decoder) learn, stand in checkpoints, and are in no Bundle. To
add one: a file here, its settings in `recipe.ObjectiveSettings`, a line in `workshop.beginning.build_objective`.
"""

from __future__ import annotations

from typing import ClassVar, Literal, NamedTuple, cast

from jaxtyping import Float
from torch import Tensor, nn

from vitrail.models import Model, describe
from vitrail.vocabulary import Batch, Shown

Activation = Literal["softmax", "sigmoid", "none"]


class Losses(NamedTuple):
    """`total` is what backward is called on, averaged over the batch; `parts` are numbers worth a curve each."""

    total: Float[Tensor, ""]
    parts: dict[str, Tensor]


class Objective(nn.Module):
    """Owns what is special about a way of learning: its extra modules, its loss, and how raw images are normalized.

    It finds its images in `batch.views["image"]`. What it draws at random it draws by (its seed, `batch.positions`), so
    that the same images are judged alike in any number of processes and parts, and after any resume.
    """

    model: nn.Module
    labeled: ClassVar[bool] = False
    """Whether it reads `batch.targets`; the model then has a head with an answer for each class."""

    @property
    def activation(self) -> Activation:
        """Of the trained model's answers; "none" where no head is trained."""
        return "none"

    def words(self) -> str:
        """What is learned, for the box that opens a run; nothing where the classes say it."""
        return ""

    def macs(self) -> int:
        """Multiply-adds of one image on the way to its losses, by the accounting of models: those of the model alone,
        where it sees each image once and whole."""
        return describe(cast(Model, self.model).config).macs

    def losses(self, batch: Batch) -> Losses:
        """Losses of one micro-batch; images arrive as uint8 and are normalized here, on the device."""
        raise TypeError(f"{type(self).__name__} must define `losses`")

    def forward(self, batch: Batch) -> Losses:
        return self.losses(batch)

    def counted(self) -> Float[Tensor, " numbers"] | None:
        """What this process has counted of the targets it trained on since the last call, as float64 numbers that may
        be added up over calls and processes; None where there is nothing to compare the loss with."""
        return None

    def constant_loss(self, counted: Float[Tensor, " numbers"]) -> float:
        """The loss of the best answer that is the same for every picture, by what was counted."""
        raise TypeError(f"{type(self).__name__} counts nothing")

    def shown(self, batch: Batch) -> list[Shown]:
        """One for each picture, for a person to look at; none where there is nothing to see."""
        return []
