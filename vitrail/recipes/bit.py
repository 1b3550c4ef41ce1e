"""BiT's rule for fine-tuning (1912.11370): length, resolution and mixup follow from the data, nothing is tuned.

    vitrail train photos/ --recipe bit --weights BiT-M-R50x1.npz

Cost: 512 images a step; 500 steps below 20,000 images, 10,000 below 500,000, then 20,000; pictures of 128 pixels where
yours are below 96 x 96, else 480. Expect what its authors report for their weights; no run of that size was made here.

SGD with momentum 0.9 at 0.003, no weight decay, a short warmup, then a tenth at each of three steps. Works for a ViT's
weights as for a ResNet's.
"""

from __future__ import annotations

from typing import NamedTuple

from vitrail import weights as published
from vitrail.data.augment import Augmentation
from vitrail.data.source import Source
from vitrail.errors import UsageError
from vitrail.recipe import DataSettings, Recipe, validated_recipe
from vitrail.recipes.facts import UNFLIPPED, survey
from vitrail.recipes.finetune import choose_model, started
from vitrail.recipes.published import batches
from vitrail.training.optimizer import OptimizerSettings
from vitrail.training.schedule import Schedule
from vitrail.vocabulary import Size

BATCH, RATE = 512, 0.003
SMALL_AREA = 96 * 96  # pixels of a picture


class Length(NamedTuple):
    """`drops`: where the learning rate falls to a tenth, as fractions of the steps."""

    steps: int
    warmup: int
    drops: tuple[float, ...]
    mixup: float


LENGTHS = ((20_000, Length(500, 100, (0.4, 0.6, 0.8), 0.0)), (500_000, Length(10_000, 500, (0.3, 0.6, 0.9), 0.1)))
"""Below so many images."""
LONGEST = Length(20_000, 500, (0.3, 0.6, 0.9), 0.1)


def choose(source: Source, *, weights: str | None = None, model: str | None = None, image_size: Size | None = None,
           seed: int = 0) -> Recipe:
    """Raises BundleError where the weights cannot be read, UsageError without weights or where sizes do not fit."""
    if weights is None:
        raise UsageError("BiT's rule is for fine-tuning. Give weights: --weights FILE")
    facts = survey(source)
    small = facts.height * facts.width < SMALL_AREA
    size = image_size or ((128, 128) if small else (480, 480))
    reading = published.read(weights, published.Told(size))
    length = next((length for most, length in LENGTHS if facts.images < most), LONGEST)
    return validated_recipe({
        "name": "bit", "seed": seed, "data": DataSettings(source=source.spec),
        "model": choose_model(reading.config, model, size, started(reading, weights)),
        "preprocess": reading.config.preprocess.model_copy(update={"size": size}),
        "augmentation": Augmentation(crop="simple", flip=0.0 if source.spec in UNFLIPPED else 0.5, mixup=length.mixup),
        "optimizer": OptimizerSettings(name="sgd", learning_rate=RATE, weight_decay=0.0, decayed="none", clip=None),
        "schedule": Schedule(kind="staircase", steps=length.steps, warmup=length.warmup, drops=length.drops),
        "training": batches(BATCH, facts.images),
        "reasons": {
            "images": "asked for" if image_size else f"BiT's rule: yours are about {facts.height}x{facts.width}",
            "model": "as the weights are", "optimizer": "BiT's rule: the same for all data",
            "length": f"BiT's rule for {facts.images:,} training images",
        },
    })
