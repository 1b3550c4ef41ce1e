"""What `vitrail train SOURCE` does when nobody says anything: a plain ViT from scratch, sized to the data.

    vitrail train photos/

Cost on two cores: about three minutes (up to 1,000 photographs), 18 minutes (`fashion`, at 1,092 images a second). From
20,000 photographs on it is the published length, which wants a GPU; `--dry-run` says how long, `--epochs` shortens it.
Expect: the table in the README, and docs/results.md.
The plain ViT of 2205.01580 (mean pooling, fixed 2-D positions), small where there is little data.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

from vitrail.data.augment import Augmentation
from vitrail.data.preprocess import Preprocess
from vitrail.data.source import Source
from vitrail.models import family_of
from vitrail.models.names import NAMINGS
from vitrail.recipe import (
    DataSettings,
    EvaluationSettings,
    ModelSettings,
    ObjectiveSettings,
    Recipe,
    TrainingSettings,
)
from vitrail.recipes import finetune
from vitrail.recipes.facts import UNFLIPPED, Facts, choose_augmentation, is_long, is_small, survey
from vitrail.recipes.published import SHOWN, inception
from vitrail.training.optimizer import OptimizerSettings
from vitrail.training.schedule import Schedule
from vitrail.vocabulary import Size

FEW_IMAGES = 4_000  # up to here a very small model at 64 pixels is both better and faster
MANY_IMAGES = 20_000  # from here on there is enough data for S/16 at 224 pixels
VERY_MANY = 300_000  # from here on as much as the published recipes are for
LOOKS_ON_THE_WAY = 40  # validations in a run, at most one an epoch
MOST_EPOCHS = 1_000
PUBLISHED_EPOCHS, PUBLISHED_BATCH, PUBLISHED_RATE = 90, 1024, 1e-3  # 2205.01580, its shortest run
WIDE, WIDE_RATE = 768, 3e-4  # the paper's ViT-B with mean pooling learned badly at 8e-4, well at this (figure 9)
RANDAUGMENT_FROM = 160  # pixels: the distances of its moves are for 224
PLAIN: dict[str, Any] = {"positions": "sincos-2d", "pooling": "mean"}  # the plain ViT baseline's choices


class Scale(NamedTuple):
    """What the amount of data decides: the model, where none is asked for, and how it learns."""

    words: str
    size: str
    shape: dict[str, Any]
    batch: int
    decay: float = 0.05
    published: bool = False


ENLARGED = 2
"""Times as large as they are, from which on it is said that pictures are enlarged."""

VERY_SMALL = Scale("very small", "Ti", {"width": 128, "depth": 4, "heads": 4, "mlp": 256}, 64)
SMALL = Scale("small", "Ti", {"width": 128, "depth": 6, "heads": 4, "mlp": 512, "feedforward": "gelu"}, 128)
TINY = Scale("larger", "Ti", {}, PUBLISHED_BATCH)
MEDIUM = Scale("medium", "S", {}, 256, 0.1, published=True)
LARGE = MEDIUM._replace(batch=PUBLISHED_BATCH)


def choose(source: Source, *, model: str | None = None, image_size: Size | None = None, seed: int = 0,
           weights: str | None = None) -> Recipe:
    """The recipe with a reason for each choice; with `weights`, that of `finetune`. Raises UnknownNameError and
    UsageError for a model that cannot be."""
    if weights is not None:
        return finetune.choose(source, model=model, image_size=image_size, seed=seed, weights=weights)
    facts = survey(source)
    scale, asked = choose_scale(facts), transformer(model)
    patch = asked.get("patch") or (choose_patch(facts),) * 2
    size = image_size or choose_size(facts, patch)
    batch = max(2, min(32 if facts.images < 1_000 else scale.batch, facts.images))
    epochs = choose_epochs(facts)
    rate, rate_reason = choose_rate(scale, asked.get("width", 0))
    return Recipe(
        name="default", seed=seed, data=DataSettings(source=source.spec),
        model=ModelSettings(name=model or f"{scale.size}/{patch[0]}", settings=choose_settings(model, scale)),
        preprocess=choose_preprocess(facts, scale, size),
        augmentation=choose_movement(source, facts, size),
        objective=ObjectiveSettings(label_smoothing=0.0 if source.multilabel or scale.published else 0.1),
        optimizer=OptimizerSettings(learning_rate=rate, weight_decay=scale.decay),
        schedule=Schedule(epochs=epochs, warmup=0.1),
        training=TrainingSettings(batch_size=batch),
        evaluation=EvaluationSettings(every_epochs=max(1.0, epochs / LOOKS_ON_THE_WAY)),
        reasons={"images": image_reason(facts, scale, size, image_size is not None),
                 "model": model_reason(facts, scale, model), "optimizer": rate_reason,
                 "length": length_reason(scale, epochs)},
    )


def choose_scale(facts: Facts) -> Scale:
    if facts.images < FEW_IMAGES:
        return VERY_SMALL
    if is_small(facts):
        return SMALL if facts.images < VERY_MANY else TINY
    return SMALL if facts.images < MANY_IMAGES else MEDIUM if facts.images < VERY_MANY else LARGE


def transformer(model: str | None) -> dict[str, Any]:
    """What a name says of a model with patches; {} for others, and where none is asked for."""
    named = NAMINGS[family_of(model)].recognize(model) if model else None
    return named if named and "patch" in named else {}


def choose_settings(model: str | None, scale: Scale) -> dict[str, Any]:
    """A model that is asked for keeps its shape; one without tokens has no positions and no pooling to choose."""
    if model is None:
        return PLAIN | scale.shape
    return {} if family_of(model) in ("bit", "axial-resnet") else PLAIN


def choose_patch(facts: Facts) -> int:
    """So that a picture has from 16 to about 200 patches."""
    shorter = min(facts.height, facts.width)
    if not is_small(facts):
        side = math.sqrt(facts.height * facts.width) if is_long(facts) else shorter
        return 8 if facts.images < MANY_IMAGES or side < 128 else 16
    return 4 if shorter >= 24 else 2 if shorter >= 8 else 1


def choose_size(facts: Facts, patch: Size) -> Size:
    """Small pictures as they are; others squares of 64, 96 or, with much data, 224 pixels, never enlarged but to four
    patches a side. Long ones keep their shape, and have as many pixels."""
    given = facts.height, facts.width
    if is_small(facts):
        return tuple(-(-side // step) * step for side, step in zip(given, patch, strict=True))  # type: ignore[return-value]
    wanted = 64 if facts.images < FEW_IMAGES else 96 if facts.images < MANY_IMAGES else 224
    if not is_long(facts):
        side = min(wanted, *given)
        return max(side // patch[0], 4) * patch[0], max(side // patch[1], 4) * patch[1]
    scale = min(1.0, wanted / math.sqrt(facts.height * facts.width))
    rows, columns = (max(2, round(side * scale / step)) for side, step in zip(given, patch, strict=True))
    return rows * patch[0], max(columns, -(-16 // rows)) * patch[1]


def choose_preprocess(facts: Facts, scale: Scale, size: Size) -> Preprocess:
    if is_small(facts) or is_long(facts):
        return Preprocess(size=size, resize="squash")
    return Preprocess(size=size, resize="crop", crop_fraction=SHOWN if scale.published else 1.0)


def choose_movement(source: Source, facts: Facts, size: Size) -> Augmentation:
    """As for all models, but many small pictures stay in place, since a short run learns faster so (docs/notebook.md),
    and a long run on many large ones gets the published augmentation, without which it learns them by heart: 73.7 %
    instead of 80.0 % on ImageNet (2205.01580)."""
    shape = facts.width / facts.height if is_long(facts) else 1.0
    chosen = choose_augmentation(source, facts, shape)
    if facts.images < MANY_IMAGES:
        return chosen
    if is_small(facts):
        return chosen.model_copy(update={"crop": "none"})
    policy = {"layers": 2, "magnitude": 10} if min(size) >= RANDAUGMENT_FROM else {}
    published = inception(flip=0.0 if source.spec in UNFLIPPED else 0.5, randaugment=policy, mixup=0.2)
    return published.model_copy(update={"ratio": (published.ratio[0] * shape, published.ratio[1] * shape)})


def choose_epochs(facts: Facts) -> float:
    """About 100,000 looks and 20 more at each image: 353 epochs of 300 images, 40 of 5,000, 22 of 60,000; from enough
    photographs on, the published length."""
    if choose_scale(facts).published:
        return float(PUBLISHED_EPOCHS)
    return float(min(round(100_000 / facts.images + 20), MOST_EPOCHS))


def choose_rate(scale: Scale, width: int) -> tuple[float, str]:
    """The learning rate and why. Of the published recipe it falls with the root of the batch; `width`: of a model that
    is asked for."""
    if width >= WIDE:
        return WIDE_RATE, f"{WIDE} wide and more learns badly at higher rates with mean pooling (paper, figure 9)"
    if scale.published:
        rate = PUBLISHED_RATE * math.sqrt(scale.batch / PUBLISHED_BATCH)
        return rate, f"{PUBLISHED_RATE:g} for batches of {PUBLISHED_BATCH} (2205.01580), less for smaller ones"
    return PUBLISHED_RATE, "as for the plain ViT (2205.01580); small models bear it too"


def image_reason(facts: Facts, scale: Scale, size: Size, asked: bool) -> str:
    yours = f"your images are about {facts.height}x{facts.width}"
    if min(size) >= ENLARGED * max(facts.height, facts.width):
        less = "leave out --image-size" if asked else "smaller patches need less, --model"
        yours += f", and are enlarged, which costs time and adds no detail: {less}"
    if scale.published:
        return f"{yours}; varied as in 2205.01580, since so long a run would learn them by heart"
    return f"{yours}, and keep their shape" if is_long(facts) and not is_small(facts) else yours


def model_reason(facts: Facts, scale: Scale, model: str | None) -> str:
    reason = "asked for" if model else f"a {scale.words} one for {facts.images:,} training images, from scratch"
    return f"{reason}; trained weights know more than so few can teach: --weights FILE" if (
        facts.images < FEW_IMAGES) else reason


def length_reason(scale: Scale, epochs: float) -> str:
    if scale.published:
        return "the published length for a ViT from scratch (2205.01580); --epochs 30 for a first look"
    return f"few images are seen often ({epochs:g} times each)" if epochs > 30 else "as long as it pays"
