"""The first run of a newcomer: a small ViT on the 6,000 embedded Fashion-MNIST images.

    vitrail demo

Cost: about a minute on two cores with AVX512-BF16. Expect: 83 to 85 % of 1,000 held-out images.
"""

from __future__ import annotations

from vitrail.data.augment import Augmentation
from vitrail.data.preprocess import Preprocess
from vitrail.data.source import Source
from vitrail.recipe import DataSettings, ModelSettings, ObjectiveSettings, Recipe, TrainingSettings
from vitrail.training.optimizer import OptimizerSettings
from vitrail.training.schedule import Schedule

SOURCE = "fashion:embedded"


def choose(source: Source, *, model: str | None = None, image_size: tuple[int, int] | None = None,
           seed: int = 0) -> Recipe:
    """A class token and learned positions, as in the paper, so that the report has all of its pictures."""
    return Recipe(
        name="demo", seed=seed, data=DataSettings(source=source.spec, validation=0.0),
        model=ModelSettings(name=model or "Ti/4", settings={} if model else
                            {"width": 128, "depth": 4, "heads": 4, "mlp": 256}),
        preprocess=Preprocess(size=image_size or (28, 28)),
        augmentation=Augmentation(crop="pad", pad=0.07, flip=0.5),
        objective=ObjectiveSettings(label_smoothing=0.1),
        optimizer=OptimizerSettings(learning_rate=2e-3, weight_decay=0.05),
        schedule=Schedule(epochs=12, warmup=0.15),
        training=TrainingSettings(batch_size=100),
    )
