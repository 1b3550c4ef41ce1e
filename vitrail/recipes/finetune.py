"""What `vitrail train SOURCE --weights FILE` does: goes on learning from trained weights, gently and for a short time.

    vitrail train photos/ --weights B_16.npz

Cost: about 5,000 looks and 5 more at each image; with 100 images and a ViT-S/14 at 84 pixels about a minute of training
on two shared cores. Expect: from a DINOv2-style ViT-S/14, 89 and 91 % (two seeds) on five kinds of garments after 20
images of each; from scratch 71 to 81 %, over seeds and learning rates (docs/notebook.md).
Model, numbers and preprocessing are those of the weights; the head is new.
"""

from __future__ import annotations

from typing import Any

from vitrail import weights as published
from vitrail.bundle import BundleConfig
from vitrail.data.source import Source
from vitrail.errors import UsageError
from vitrail.models import ModelConfig, ViTConfig
from vitrail.models.names import configure, describe_disagreement, settings_of
from vitrail.models.vit.another_size import config_at_size
from vitrail.recipe import (
    DataSettings,
    ModelSettings,
    ObjectiveSettings,
    Recipe,
    TrainingSettings,
    WeightsSettings,
    validated_recipe,
)
from vitrail.recipes.facts import choose_augmentation, survey
from vitrail.training.optimizer import OptimizerSettings
from vitrail.training.schedule import Schedule
from vitrail.vocabulary import Size

GENTLE, WIDTH = 4e-5, 384  # learning rate of a model as wide as S
RATES = (2e-5, 1e-3)
MANY_IMAGES = 100_000


def choose(source: Source, *, weights: str | None = None, model: str | None = None,
           image_size: tuple[int, int] | None = None, seed: int = 0) -> Recipe:
    """The recipe with a reason for each choice. Raises BundleError where the weights cannot be read, UsageError where
    another model is asked for than they are, or patches do not divide the image."""
    if weights is None:
        raise UsageError("The recipe finetune starts from trained weights. Give them: --weights FILE")
    reading = published.read(weights, published.Told(image_size))
    given, facts = reading.config, survey(source)
    size = image_size or given.preprocess.size
    return validated_recipe({
        "name": "finetune", "seed": seed, "data": DataSettings(source=source.spec),
        "model": choose_model(given, model, size, started(reading, weights)),
        "preprocess": given.preprocess.model_copy(update={"size": size}),
        "augmentation": choose_augmentation(source, facts),
        "objective": ObjectiveSettings(label_smoothing=0.0 if source.multilabel else 0.1),
        "optimizer": OptimizerSettings(learning_rate=choose_rate(given.model), weight_decay=0.05),
        "schedule": Schedule(epochs=choose_epochs(facts.images), warmup=0.1),
        "training": TrainingSettings(batch_size=choose_batch(facts.images)),
        "reasons": {
            "images": f"{'asked for' if image_size else 'the size of the weights'}; yours are about "
                      f"{facts.height}x{facts.width}",
            "model": "as the weights are",
            "optimizer": "small steps, so that what was learned before is kept; smaller ones the wider the model is",
            "length": "trained weights need few looks at each image",
        },
    })


def weights_settings(path: str, image_size: Size | None) -> WeightsSettings:
    """What a recipe keeps of trained weights. Raises BundleError where they cannot be read."""
    return started(published.read(path, published.Told(image_size)), path)


def taught_by(path: str) -> dict[str, Any]:
    """A teacher as a setting of a recipe. Raises BundleError where it cannot be read."""
    return {"objective.teacher": weights_settings(path, None).model_dump(mode="json")}


def started(reading: published.Reading, path: str) -> WeightsSettings:
    model, pictures = reading.config.model, reading.config.preprocess
    return WeightsSettings(path=path, sha256=reading.sha256(), image_size=model.image_size,
                           format=reading.config.provenance.get("format", "vitrail"),
                           patch=getattr(model, "patch", None), head_hidden=getattr(model, "head_hidden", None),
                           mean=pictures.mean, std=pictures.std)


def choose_model(given: BundleConfig, asked: str | None, size: Size, start: WeightsSettings) -> ModelSettings:
    """The model of the weights; another patch may be asked for by a name of the same size."""
    patch = None
    if asked is not None:
        if differing := describe_disagreement(asked, given.model):
            raise UsageError(f"The weights {start.path} are {given.model.name}, not {asked}: {'; '.join(differing)}. "
                             "Leave out --model, or give other weights.")
        patch = getattr(configure(asked, image_size=size), "patch", None)
    name, settings = settings_of(config_at_size(given.model, size, patch))
    return ModelSettings(name=name, weights=start, settings={
        field: value for field, value in settings.items() if field not in ("head_hidden", "head_bias")})


def choose_rate(config: ModelConfig) -> float:
    """Small steps keep what was learned, and the better that is, the more there is to lose: a DINOv2 of width 384 is
    best at 2e-5 to 5e-5 and spoiled by 2e-4, a ViT of width 128 trained on 2,500 images is best at 6e-4 to 9e-4."""
    width = config.width if isinstance(config, ViTConfig) else WIDTH
    lowest, highest = RATES
    return float(f"{min(max(GENTLE * (WIDTH / width) ** 2, lowest), highest):.1g}")


def choose_batch(images: int) -> int:
    """With a million images and 5 epochs about 20,000 steps, as many as the paper's on ImageNet (Table 4)."""
    return max(2, min(images, 32 if images < 1_000 else 64 if images < MANY_IMAGES else 256))


def choose_epochs(images: int) -> float:
    """About 5,000 looks and 5 more at each image."""
    return float(round(5_000 / images + 5))
