"""What a source's training images are like: the facts from which defaults follow."""

from __future__ import annotations

import statistics
from typing import NamedTuple

import numpy as np

from vitrail.data.decode import picture_size
from vitrail.data.source import Source
from vitrail.errors import DataError, ImageError

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
