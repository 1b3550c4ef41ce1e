"""What the published recipes share: their pictures, and their batches on machines that are smaller than theirs."""

from __future__ import annotations

from vitrail.data.augment import Augmentation
from vitrail.data.preprocess import Preprocess
from vitrail.errors import UsageError
from vitrail.recipe import TrainingSettings
from vitrail.vocabulary import Size

SHOWN = 224 / 256
"""Of the shorter side in evaluation: resized to 256, then the middle 224."""

MICRO_BATCH = 32
"""Images whose activations are held at once: gradients are added up to the published batch."""


def from_scratch(name: str, weights: str | None) -> None:
    """Raises UsageError for weights that a recipe has no use for."""
    if weights is not None:
        raise UsageError(f"The recipe {name} starts from scratch. Leave out --weights, or choose paper_finetune or "
                         "finetune.")


def pictures(size: Size) -> Preprocess:
    return Preprocess(size=size, resize="crop", crop_fraction=SHOWN)


def inception(flip: float = 0.5, **more: object) -> Augmentation:
    """A crop of 5 to 100 % of the area, ratios of TensorFlow's op, and a left-right flip."""
    return Augmentation.model_validate({"crop": "inception", "area": (0.05, 1.0), "ratio": (0.75, 1.33), "flip": flip,
                                        **more})


def batches(published: int, images: int, **more: object) -> TrainingSettings:
    """The published batch, or all images where there are fewer."""
    size = min(published, max(images, 2))
    return TrainingSettings.model_validate({"batch_size": size, "micro_batches": -(-size // MICRO_BATCH), **more})
