"""Which part of a picture is seen: boxes that are cut out and resized, and small moves.

Two ways to draw a box are in use, and they are not the same. torchvision draws the *area* evenly and the shape evenly
in its logarithm, and where nothing fits takes the middle. TensorFlow's `sample_distorted_bounding_box`, with which the
ViT recipes were trained, draws the *height* evenly and the shape evenly, so that small parts are seen more often (half
of those in a picture of 500 x 375 have less than 31 % of it, against 41 %), never reaches the last row and column, and
where nothing fits takes the whole picture.
"""

from __future__ import annotations

import math
from functools import lru_cache

import numpy as np

from vitrail.data.augment.pixels import Pixels
from vitrail.data.order import Draws
from vitrail.vocabulary import Box, Size

Range = tuple[float, float]

MARGIN = 4
"""Pixels of mirrored edge around the picture in a simple crop (DeiT III, arXiv 2204.07118)."""


def resized_box(size: Size, area: Range, ratio: Range, draws: Draws) -> Box:
    """torchvision's: ten tries; where none fits, the largest central part whose shape is allowed."""
    height, width = size
    for _ in range(10):
        pixels = height * width * draws.uniform(*area)
        shape = math.exp(draws.uniform(math.log(ratio[0]), math.log(ratio[1])))
        rows, columns = max(1, round(math.sqrt(pixels / shape))), max(1, round(math.sqrt(pixels * shape)))
        if rows <= height and columns <= width:
            return Box(draws.integer(height - rows + 1), draws.integer(width - columns + 1), rows, columns)
    shape = min(max(width / height, ratio[0]), ratio[1])
    rows, columns = min(height, round(width / shape)), min(width, round(height * shape))
    rows, columns = max(1, rows), max(1, columns)
    return Box((height - rows) // 2, (width - columns) // 2, rows, columns)


def inception_box(size: Size, area: Range, ratio: Range, draws: Draws) -> Box:
    """TensorFlow's: a hundred tries; where none fits, the whole picture."""
    height, width = size
    least, most = (height * width * share for share in area)
    for _ in range(100):
        shape = draws.uniform(*ratio)
        rows = drawn_height(size, least, most, shape, draws)
        columns = round(rows * shape)
        # A rectangle that rounding put outside of the allowed areas is made one row higher, then one row lower.
        if rows * columns < least:
            rows, columns = rows + 1, round((rows + 1) * shape)
        if rows * columns > most:
            rows, columns = rows - 1, round((rows - 1) * shape)
        if least <= rows * columns <= most and 0 < rows <= height and 0 < columns <= width:
            # The last place is left out, as it is there.
            top, left = draws.integer(height - rows), draws.integer(width - columns)
            return Box(top, left, rows, columns)
    return Box(0, 0, height, width)


def drawn_height(size: Size, least: float, most: float, shape: float, draws: Draws) -> int:
    """A height between those of the smallest and the largest allowed area that the picture has room for."""
    height, width = size
    low, high = round(math.sqrt(least / shape)), round(math.sqrt(most / shape))
    if round(high * shape) > width:
        high = int((width + 0.5 - 1e-7) / shape)
        high -= round(high * shape) > width
    high = min(high, height)
    low = min(low, high)
    return low + (draws.integer(high - low + 1) if low < high else 0)


def moved(pixels: Pixels, pad: float, draws: Draws) -> Pixels:
    """Cut a picture of the same size out of one padded on all sides by `pad` of its size, with its edge repeated."""
    _, height, width = pixels.shape
    down, across = (reach(side, pad, draws) for side in (height, width))
    if down:
        pixels = pixels.take(shifted(height, down), axis=1)
    if across:
        pixels = pixels.take(shifted(width, across), axis=2)
    return pixels


@lru_cache(maxsize=1024)  # a run needs a few dozen of them, and making one costs more than using it on a small picture
def shifted(side: int, by: int) -> np.ndarray:
    """Which row (or column) each one comes from, with the edge repeated."""
    return np.clip(np.arange(by, by + side), 0, side - 1)


def reach(side: int, pad: float, draws: Draws) -> int:
    """By how many pixels to move along a side: -n .. n, n = the padding in whole pixels, halves rounded up."""
    most = math.floor(side * pad + 0.5)
    return draws.integer(2 * most + 1) - most


def simple_crop(pixels: Pixels, size: Size, draws: Draws) -> Pixels:
    """A part of `size` out of a picture that covers it and has `MARGIN` mirrored pixels around it."""
    starts = [draws.integer(given + 2 * MARGIN - wanted + 1) - MARGIN
              for given, wanted in zip(pixels.shape[1:], size, strict=True)]
    rows, columns = (mirrored(start, wanted, given)
                     for start, wanted, given in zip(starts, size, pixels.shape[1:], strict=True))
    return pixels.take(rows, axis=1).take(columns, axis=2)


def mirrored(start: int, count: int, side: int) -> np.ndarray:
    """The places start .. start + count - 1 of a side that is continued by its mirror image, the edge not repeated."""
    period = max(1, 2 * (side - 1))
    places = np.abs(np.arange(start, start + count)) % period
    return np.minimum(places, period - places) if side > 1 else np.zeros(count, np.int64)
