"""How to train your ViT (2106.10270): all 28 combinations of regularization, augmentation and weight decay, by name.

    vitrail train photos/ --recipe augreg --model S/16
    vitrail train photos/ --recipe augreg-medium2-wd0.1-reg --model B/16

Cost: 300 epochs of 224-pixel images in batches of 4096. Expect, from scratch on ImageNet-1k, what its authors publish
in their table of 759 runs; the paper's advice is to begin with published weights instead: `finetune`.

`augreg` alone takes the augmentation that big_vision has for the model on data of ImageNet's size, weight decay 0.1 and
no regularization. `reg` is dropout and stochastic depth of 0.1. The head has no hidden layer.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from itertools import product
from typing import Any, NamedTuple

from vitrail.data.source import Source
from vitrail.models import family_of
from vitrail.recipe import DataSettings, EvaluationSettings, ModelSettings, ObjectiveSettings, Recipe
from vitrail.recipes.published import batches, from_scratch, inception, pictures
from vitrail.training.optimizer import OptimizerSettings
from vitrail.training.schedule import Schedule
from vitrail.vocabulary import Size

BATCH, WARMUP, EPOCHS, RATE = 4096, 10_000, 300, 1e-3
HEAD_BIAS = -6.9  # of big_vision's ImageNet-1k recipe, whose loss is a sigmoid


class Strength(NamedTuple):
    layers: int
    magnitude: float
    mixup: float


AUGMENTATIONS: dict[str, Strength] = {
    "none": Strength(0, 0, 0.0), "light1": Strength(2, 0, 0.0), "light2": Strength(2, 10, 0.2),
    "medium1": Strength(2, 15, 0.2), "medium2": Strength(2, 15, 0.5), "strong1": Strength(2, 20, 0.5),
    "strong2": Strength(2, 20, 0.8),
}
USUAL = {"Ti/16": "light1", "S/32": "medium1"}
OTHERS = "medium2"
"""big_vision's defaults for ImageNet-1k; every model that it does not name has the last."""


def choose(source: Source, *, model: str | None = None, image_size: Size | None = None, seed: int = 0,
           weights: str | None = None, augmentation: str | None = None, decay: float = 0.1,
           regularized: bool = False) -> Recipe:
    """Raises UsageError for weights, and for a model that cannot be."""
    from_scratch("augreg", weights)
    name, images = model or "S/16", len(source.splits["train"])
    level = augmentation or USUAL.get(name, OTHERS)
    layers, magnitude, mixup = AUGMENTATIONS[level]
    return Recipe(
        name="augreg", seed=seed, data=DataSettings(source=source.spec),
        model=ModelSettings(name=name, settings=settings_of(name, regularized)),
        preprocess=pictures(image_size or (224, 224)),
        augmentation=inception(randaugment={"layers": layers, "magnitude": magnitude}, mixup=mixup),
        objective=ObjectiveSettings(loss="sigmoid"),
        optimizer=OptimizerSettings(name="adam", learning_rate=RATE, weight_decay=decay, clip=1.0),
        schedule=Schedule(epochs=EPOCHS, warmup=WARMUP), training=batches(BATCH, images),
        evaluation=EvaluationSettings(every_epochs=EPOCHS / 40),
        reasons={"images": f"augmentation {level}" + ("" if augmentation else f", big_vision's for {name}")},
    )


def settings_of(name: str, regularized: bool) -> dict[str, Any]:
    both = {"dropout": 0.1, "drop_path": 0.1} if regularized else {}
    return {"head_bias": HEAD_BIAS} | ({} if family_of(name) in ("bit", "axial-resnet") else both)


NAMED: dict[str, Callable[..., Recipe]] = {
    f"augreg-{level}-wd{decay:g}-{'reg' if regularized else 'noreg'}":
        partial(choose, augmentation=level, decay=decay, regularized=regularized)
    for level, decay, regularized in product(AUGMENTATIONS, (0.1, 0.03), (False, True))
}
