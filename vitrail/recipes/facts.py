"""What a source's training images are like, and what follows from it whatever the model."""

from __future__ import annotations

import statistics
from typing import NamedTuple

import numpy as np

from vitrail.data.augment import Augmentation
from vitrail.data.decode import picture_size
from vitrail.data.source import Source
from vitrail.errors import DataError, ImageError

SMALL_PICTURE = 48  # pixels: up to here pictures are taken as they are
LONG = 2  # from so many times as long as wide a picture keeps its shape
UNFLIPPED = ("digits",)  # left and right differ
LOOKED_AT = 64  # pictures whose size is read; they are spread evenly over the split


class Facts(NamedTuple):
    """`height`, `width`: medians in pixels, from file headers."""

    images: int
    classes: int
    height: int
    width: int


def survey(source: Source) -> Facts:
    """Raises DataError where none of the pictures looked at can be opened."""
    split = source.splits["train"]
    sizes = []
    for index in np.unique(np.linspace(0, len(split) - 1, LOOKED_AT).astype(int)):
        try:
            size = picture_size(split.read(int(index)))
        except ImageError:
            continue
        if size is not None:
            sizes.append(size)
    if not sizes:
        raise DataError(f"None of the {len(split):,} training images looked at can be opened, {split.names[0]} among "
                        "them. Check that they are pictures (JPEG, PNG, WebP, ...) and not cut short.")
    height, width = (round(statistics.median(side)) for side in zip(*sizes, strict=True))
    return Facts(len(split), len(source.classes), height, width)


def is_small(facts: Facts) -> bool:
    return max(facts.height, facts.width) <= SMALL_PICTURE


def is_long(facts: Facts) -> bool:
    """A square in the middle would show half of such a picture, or less."""
    return max(facts.height, facts.width) >= LONG * min(facts.height, facts.width)


def choose_augmentation(source: Source, facts: Facts, shape: float = 1.0) -> Augmentation:
    """Parts of at least half of a picture: smaller ones cost more than they teach where a subject fills its picture.
    Colors stay as they are: changing them by a fifth cost 4 points on 800 images (docs/notebook.md). `shape`: width for
    height of what the model sees."""
    flip = 0.0 if source.spec in UNFLIPPED else 0.5
    if is_small(facts):
        return Augmentation(crop="pad", flip=flip)
    return Augmentation(crop="random-resized", area=(0.5, 1.0), ratio=(0.8 * shape, 1.25 * shape), flip=flip)
