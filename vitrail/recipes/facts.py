"""What a source's training images are like: the facts from which defaults follow."""

from __future__ import annotations

import io
import statistics
import warnings
from typing import NamedTuple

import numpy as np
from PIL import Image

from vitrail.data.source import Source, Split
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
        size = picture_size(split, int(index))
        if size is not None:
            sizes.append(size)
    if not sizes:
        raise DataError(f"None of the {len(split):,} training images looked at can be opened, {split.names[0]} among "
                        "them. Check that they are pictures (JPEG, PNG, WebP, ...) and not cut short.")
    height, width = (round(statistics.median(side)) for side in zip(*sizes, strict=True))
    return Facts(len(split), len(source.classes), height, width)


def picture_size(split: Split, index: int) -> tuple[int, int] | None:
    """Height and width from the header alone, or None where it cannot be read."""
    try:
        encoded = split.read(index)
        if isinstance(encoded, np.ndarray):
            return encoded.shape[0], encoded.shape[1]
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            with Image.open(io.BytesIO(encoded)) as image:
                return image.height, image.width
    except (ImageError, OSError, SyntaxError, ValueError, Image.DecompressionBombError):
        return None
