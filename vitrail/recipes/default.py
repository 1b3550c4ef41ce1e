"""What `vitrail train SOURCE` does when nobody says anything: a plain ViT from scratch, sized to the data.

    vitrail train photos/

Cost on two cores: about three minutes (up to 1,000 photographs), 17 minutes (`fashion`, at 1,141 images a second).
Expect: the table in the README, and docs/results.md.
The plain ViT of 2205.01580 (mean pooling, fixed 2-D positions), small where there is little data.
"""

from __future__ import annotations

from typing import Any

from vitrail.data.augment import Augmentation
from vitrail.data.preprocess import Preprocess
from vitrail.data.source import Source
from vitrail.models import family_of
from vitrail.recipe import (
    DataSettings,
    EvaluationSettings,
    ModelSettings,
    ObjectiveSettings,
    Recipe,
    TrainingSettings,
)
from vitrail.recipes import finetune
from vitrail.recipes.facts import Facts, choose_augmentation, is_small, survey
from vitrail.training.optimizer import OptimizerSettings
from vitrail.training.schedule import Schedule

FEW_IMAGES = 4_000  # up to here a very small model at 64 pixels is both better and faster
MANY_IMAGES = 20_000  # from here on there is enough data for S/16 at 224 pixels
LOOKS_ON_THE_WAY = 40  # validations in a run, at most one an epoch
SHAPES: dict[str, dict[str, Any]] = {
    "very small": {"width": 128, "depth": 4, "heads": 4, "mlp": 256},
    "small": {"width": 128, "depth": 6, "heads": 4, "mlp": 512, "feedforward": "gelu"},
    "medium": {},
}
PLAIN: dict[str, Any] = {"positions": "sincos-2d", "pooling": "mean"}  # the plain ViT baseline's choices


def choose(source: Source, *, model: str | None = None, image_size: tuple[int, int] | None = None,
           seed: int = 0, weights: str | None = None) -> Recipe:
    """The recipe with a reason for each choice; with `weights`, that of `finetune`. Raises UnknownNameError and
    UsageError for a model that cannot be."""
    if weights is not None:
        return finetune.choose(source, model=model, image_size=image_size, seed=seed, weights=weights)
    facts = survey(source)
    size, patch = image_size or choose_size(facts), choose_patch(facts)
    scale = choose_scale(facts)
    batch = {"very small": 32 if facts.images < 1_000 else 64, "small": 128, "medium": 256}[scale]
    epochs = choose_epochs(facts.images)
    reasons = {
        "images": f"your images are about {facts.height}x{facts.width}",
        "model": "asked for" if model else f"a {scale} one for {facts.images:,} training images, from scratch",
        "length": f"few images are seen often ({epochs:g} times each)" if epochs > 30 else "as long as it pays",
    }
    return Recipe(
        name="default", seed=seed, data=DataSettings(source=source.spec),
        model=ModelSettings(name=model or f"{'S' if scale == 'medium' else 'Ti'}/{patch}",
                            settings=choose_settings(model, scale)),
        preprocess=Preprocess(size=size, resize="squash" if is_small(facts) else "crop"),
        augmentation=choose_movement(source, facts),
        objective=ObjectiveSettings(label_smoothing=0.0 if source.multilabel else 0.1),
        optimizer=OptimizerSettings(learning_rate=1e-3, weight_decay=0.05),
        schedule=Schedule(epochs=epochs, warmup=0.1),
        training=TrainingSettings(batch_size=min(batch, max(2, facts.images))),
        evaluation=EvaluationSettings(every_epochs=max(1.0, epochs / LOOKS_ON_THE_WAY)),
        reasons=reasons,
    )


def choose_movement(source: Source, facts: Facts) -> Augmentation:
    """As for all models, but many small pictures stay in place: a short run learns faster so (docs/results.md)."""
    chosen = choose_augmentation(source, facts)
    stays = is_small(facts) and facts.images >= MANY_IMAGES
    return chosen.model_copy(update={"crop": "none"}) if stays else chosen


def choose_scale(facts: Facts) -> str:
    if facts.images < FEW_IMAGES:
        return "very small"
    return "small" if facts.images < MANY_IMAGES or is_small(facts) else "medium"


def choose_settings(model: str | None, scale: str) -> dict[str, Any]:
    """A model that is asked for keeps its shape; one without tokens has no positions and no pooling to choose."""
    if model is None:
        return PLAIN | SHAPES[scale]
    return {} if family_of(model) in ("bit", "axial-resnet") else PLAIN


def choose_patch(facts: Facts) -> int:
    """So that a picture has from 16 to about 150 patches."""
    if not is_small(facts):
        return 8 if facts.images < MANY_IMAGES or min(facts.height, facts.width) < 160 else 16
    shorter = min(facts.height, facts.width)
    return 4 if shorter >= 24 else 2 if shorter >= 8 else 1


def choose_size(facts: Facts) -> tuple[int, int]:
    """Small pictures as they are; others squares of 64, 96 or, with much data, 224 pixels, never enlarged."""
    patch = choose_patch(facts)
    if is_small(facts):
        return tuple(-(-side // patch) * patch for side in (facts.height, facts.width))  # type: ignore[return-value]
    wanted = 64 if facts.images < FEW_IMAGES else 96 if facts.images < MANY_IMAGES else 224
    side = max(min(wanted, facts.height, facts.width) // patch, 4) * patch
    return side, side


def choose_epochs(images: int) -> float:
    """About 100,000 looks and 20 more at each image: 353 epochs of 300 images, 40 of 5,000, 22 of 60,000."""
    return float(round(100_000 / images + 20))
