"""What moves pixels: every place shows the nearest pixel of where it looks, or a fill where it looks outside.

Coordinates are those of TensorFlow's `ImageProjectiveTransform`: a pixel is a point at its integer place, halves are
rounded away from zero, all in float32. A pixel of Pillow's has its middle at one half; rotation about the middle is the
same in both, and a shear differs by half of its level in pixels.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from vitrail.data.augment.pixels import Pixels


def rotated(pixels: Pixels, degrees: float, fill: int) -> Pixels:
    """Counterclockwise around the middle of the picture."""
    _, height, width = pixels.shape
    cosine, sine = np.float32(math.cos(math.radians(degrees))), np.float32(math.sin(math.radians(degrees)))
    across = (width - 1 - (cosine * (width - 1) - sine * (height - 1))) / 2
    down = (height - 1 - (sine * (width - 1) + cosine * (height - 1))) / 2
    return warped(pixels, (cosine, -sine, across, sine, cosine, down), fill)


def sheared_x(pixels: Pixels, level: float, fill: int) -> Pixels:
    """Each row looks `level` pixels further to the right than the one above it; the first stays."""
    return warped(pixels, (1, level, 0, 0, 1, 0), fill)


def sheared_y(pixels: Pixels, level: float, fill: int) -> Pixels:
    """Each column looks `level` pixels further down than the one to its left; the first stays."""
    return warped(pixels, (1, 0, 0, level, 1, 0), fill)


def warped(pixels: Pixels, matrix: Sequence[float | np.floating], fill: int) -> Pixels:
    """The place (x, y) shows the pixel nearest to (a x + b y + c, d x + e y + f) of the matrix a, b, c, d, e, f."""
    _, height, width = pixels.shape
    a, b, c, d, e, f = np.array(matrix, np.float32)
    x, y = np.arange(width, dtype=np.float32), np.arange(height, dtype=np.float32)[:, None]
    across, down = a * x + b * y + c, d * x + e * y + f
    outside = (across <= -0.5) | (across >= width - 0.5) | (down <= -0.5) | (down >= height - 0.5)
    across += 0.5
    down += 0.5
    # Truncated, which rounds down what is inside; to int32, because processors have no fast way from float32 to int64.
    places = down.astype(np.int32) * np.int32(width) + across.astype(np.int32)
    np.copyto(places, height * width, where=outside)
    padded = np.full((3, height * width + 1), fill, np.uint8)
    padded[:, :-1] = pixels.reshape(3, -1)
    return padded.take(places, axis=1)


def translated(pixels: Pixels, right: int, down: int, fill: int) -> Pixels:
    """Look `right` and `down` by so many pixels (negative: left and up), so that the picture moves the other way."""
    _, height, width = pixels.shape
    moved = np.full_like(pixels, fill)
    if abs(right) < width and abs(down) < height:
        moved[:, max(0, -down):height - max(0, down), max(0, -right):width - max(0, right)] = (
            pixels[:, max(0, down):height + min(0, down), max(0, right):width + min(0, right)])
    return moved
