"""What `vitrail train SOURCE` does when nobody says anything: a plain ViT from scratch, sized to the data.

    vitrail train photos/

Cost: from about three minutes (300 photographs) on two cores. Expect: docs/results in the README.
The plain ViT of 2205.01580 (mean pooling, fixed 2-D positions), small where there is little data.
"""

from __future__ import annotations

from typing import Any

from vitrail.data.augment import Augmentation
from vitrail.data.preprocess import Preprocess
from vitrail.data.source import Source
from vitrail.recipe import DataSettings, ModelSettings, ObjectiveSettings, Recipe, TrainingSettings
from vitrail.recipes.facts import Facts, survey
from vitrail.training.optimizer import OptimizerSettings
from vitrail.training.schedule import Schedule

SMALL_PICTURE = 48  # pixels: up to here pictures are taken as they are
MANY_IMAGES = 20_000  # from here on there is enough data for S/16 at 224 pixels
UNFLIPPED = ("digits",)  # left and right differ


def choose(source: Source, *, model: str | None = None, image_size: tuple[int, int] | None = None,
           seed: int = 0) -> Recipe:
    """The recipe with a reason for each choice. Raises UnknownNameError and UsageError for a model that cannot be."""
    facts = survey(source)
    size, patch = image_size or choose_size(facts), choose_patch(facts)
    small = facts.images < MANY_IMAGES
    batch = 32 if facts.images < 1_000 else 64 if facts.images < 4_000 else 128 if small else 256
    epochs = choose_epochs(facts.images)
    reasons = {
        "images": f"your images are about {facts.height}x{facts.width}",
        "model": "asked for" if model else f"a {'small' if small else 'medium'} one for {facts.images:,} training "
                                           "images, from scratch",
        "length": f"few images are seen often ({epochs:g} times each)" if epochs > 30 else "as long as it pays",
    }
    return Recipe(
        name="default", seed=seed, data=DataSettings(source=source.spec),
        model=ModelSettings(name=model or f"{'Ti' if small else 'S'}/{patch}",
                            settings=plain_settings(shallow=small and model is None)),
        preprocess=Preprocess(size=size, resize="squash" if is_small(facts) else "crop"),
        augmentation=choose_augmentation(source, facts),
        objective=ObjectiveSettings(label_smoothing=0.0 if source.multilabel else 0.1),
        optimizer=OptimizerSettings(learning_rate=1e-3, weight_decay=0.05),
        schedule=Schedule(epochs=epochs, warmup=0.1),
        training=TrainingSettings(batch_size=min(batch, max(2, facts.images))),
        reasons=reasons,
    )


def plain_settings(*, shallow: bool) -> dict[str, Any]:
    """The plain ViT baseline's choices; six layers learn faster from few images than twelve."""
    return {"positions": "sincos-2d", "pooling": "mean"} | ({"depth": 6} if shallow else {})


def is_small(facts: Facts) -> bool:
    return max(facts.height, facts.width) <= SMALL_PICTURE


def choose_patch(facts: Facts) -> int:
    """So that a picture has from 16 to about 150 patches."""
    if not is_small(facts):
        return 8 if facts.images < MANY_IMAGES or min(facts.height, facts.width) < 160 else 16
    shorter = min(facts.height, facts.width)
    return 4 if shorter >= 24 else 2 if shorter >= 8 else 1


def choose_size(facts: Facts) -> tuple[int, int]:
    """Small pictures as they are; others squares of 96 pixels, 224 with much data, never larger than the pictures."""
    patch = choose_patch(facts)
    if is_small(facts):
        return tuple(-(-side // patch) * patch for side in (facts.height, facts.width))  # type: ignore[return-value]
    side = min(224 if facts.images >= MANY_IMAGES else 96, min(facts.height, facts.width))
    side = max(side // patch, 4) * patch
    return side, side


def choose_epochs(images: int) -> float:
    """About 40,000 looks and 20 more at each image: 150 epochs of 300 images, 28 of 5,000, 21 of 60,000."""
    return float(round(40_000 / images + 20))


def choose_augmentation(source: Source, facts: Facts) -> Augmentation:
    flip = 0.0 if source.spec in UNFLIPPED else 0.5
    if is_small(facts):
        return Augmentation(crop="pad", flip=flip)
    return Augmentation(crop="random-resized", area=(0.3, 1.0), flip=flip, brightness=0.3, contrast=0.3, saturation=0.3)
