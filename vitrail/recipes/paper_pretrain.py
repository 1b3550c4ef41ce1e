"""Pre-training as the paper does it (Table 3): Adam, a long warmup, weight decay, one row for each model and scale.

    vitrail train photos/ --recipe paper_pretrain --model B/16

Cost: the paper's. ViT-B/16 for 7 epochs of 303 million images is 224 exaFLOPs; `--dry-run` says what yours are.
Expect, after fine-tuning on ImageNet at 384 pixels: B/16 77.9 % from ImageNet, 84.0 % from ImageNet-21k, 84.2 % from
JFT-300M (Table 5). On a thousand photographs expect little: that is the paper's point. Use `default` there.

Epochs, learning rate, decay and dropout are those of the row for data of your scale. The loss is a sigmoid with the
head's bias at -10 for ImageNet-21k and JFT, as its authors say (vision_transformer issue 2), the head has the tanh
layer, and gradients are clipped for ImageNet alone.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from vitrail.data.source import Source
from vitrail.models import family_of
from vitrail.models.names import configure
from vitrail.recipe import DataSettings, EvaluationSettings, ModelSettings, ObjectiveSettings, Recipe
from vitrail.recipes.published import batches, from_scratch, inception, pictures
from vitrail.training.optimizer import OptimizerSettings
from vitrail.training.schedule import Schedule
from vitrail.vocabulary import Size

BATCH, WARMUP = 4096, 10_000
MANY, VERY_MANY = 5_000_000, 100_000_000  # images: from here on ImageNet-21k's rows, and JFT's


class Row(NamedTuple):
    """`final`: the learning rate at the end as a fraction of the peak."""

    epochs: float
    rate: float
    kind: str
    decay: float
    dropout: float
    clip: float | None
    loss: str
    final: float = 0.0


JFT: dict[str, tuple[float, float]] = {
    # epochs and learning rate; of two lengths the shorter
    "B/32": (7, 8e-4), "B/16": (7, 8e-4), "L/32": (7, 6e-4), "L/16": (7, 4e-4), "H/14": (14, 3e-4),
    "R50x1": (7, 1e-3), "R50x2": (7, 1e-3), "R101x1": (7, 8e-4), "R152x1": (7, 6e-4), "R152x2": (7, 6e-4),
    "R50+B/16": (7, 8e-4), "R50+B/32": (7, 8e-4), "R50+L/32": (7, 2e-4), "R50+L/16": (7, 4e-4),
}
OTHERS = (7, 4e-4)
"""For a model that the table does not have: the rate of its large ones."""


def row_of(model: str, images: int) -> tuple[Row, str]:
    """A row of Table 3, and why that one."""
    if images >= VERY_MANY:
        epochs, rate = JFT.get(model, OTHERS)
        return Row(epochs, rate, "linear", 0.1, 0.0, None, "sigmoid"), "the row for JFT-300M"
    if images >= MANY:
        epochs = 30.0 if "L/" in model else 90.0
        return Row(epochs, 1e-3, "linear", 0.03, 0.1, None, "sigmoid", final=0.01), "the row for ImageNet-21k"
    return Row(300, 3e-3, "cosine", 0.3, 0.1, 1.0, "auto"), "the row for ImageNet"


def choose(source: Source, *, model: str | None = None, image_size: Size | None = None, seed: int = 0,
           weights: str | None = None) -> Recipe:
    """Raises UsageError for weights, and for a model that cannot be."""
    from_scratch("paper_pretrain", weights)
    name, images = model or "B/16", len(source.splits["train"])
    row, reason = row_of(name, images)
    size = image_size or (224, 224)
    return Recipe(
        name="paper_pretrain", seed=seed, data=DataSettings(source=source.spec),
        model=ModelSettings(name=name, settings=settings_of(name, row, size)), preprocess=pictures(size),
        augmentation=inception(), objective=ObjectiveSettings(loss=row.loss),
        optimizer=OptimizerSettings(name="adam", learning_rate=row.rate, weight_decay=row.decay, clip=row.clip),
        schedule=Schedule(kind=row.kind, epochs=row.epochs, warmup=WARMUP, final=row.final),
        training=batches(BATCH, images), evaluation=EvaluationSettings(every_epochs=max(1.0, row.epochs / 40)),
        reasons={"optimizer": reason, "length": f"{reason}, for {images:,} training images"},
    )


def settings_of(name: str, row: Row, size: Size) -> dict[str, Any]:
    """Dropout and the tanh layer are for transformers; the bias of a sigmoid's head is for all."""
    bias = {"head_bias": -10.0} if row.loss == "sigmoid" else {}
    if family_of(name) in ("bit", "axial-resnet"):
        return bias
    pooled = {} if family_of(name) == "axial-vit" else {"pooling": "token"}
    width = configure(name, image_size=size).width
    return {"dropout": row.dropout, "head_hidden": width} | pooled | bias
