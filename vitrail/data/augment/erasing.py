"""What paints over a part of a picture: random erasing (arXiv 1708.04896) and cutout (arXiv 1708.04552)."""

from __future__ import annotations

import math

import numpy as np

from vitrail.data.augment.pixels import Pixels
from vitrail.data.order import Draws

ERASED_AREA = (0.02, 1 / 3)
ERASED_RATIO = (0.3, 1 / 0.3)
"""Area and height-to-width ratio of an erased rectangle."""


def erase(pixels: Pixels, fill: tuple[float, float, float] | None, draws: Draws) -> None:
    """Paint one random rectangle in the color `fill` (0 to 1), or with None in noise: any value at every place, as in
    the paper. Ten tries; where none fits, nothing happens."""
    _, height, width = pixels.shape
    for _ in range(10):
        area = height * width * draws.uniform(*ERASED_AREA)
        ratio = math.exp(draws.uniform(math.log(ERASED_RATIO[0]), math.log(ERASED_RATIO[1])))
        rows, columns = round(math.sqrt(area * ratio)), round(math.sqrt(area / ratio))
        if 0 < rows < height and 0 < columns < width:
            top, left = draws.integer(height - rows + 1), draws.integer(width - columns + 1)
            pixels[:, top:top + rows, left:left + columns] = noise(rows, columns, draws) if fill is None else (
                np.clip(np.rint(np.array(fill) * 255), 0, 255)[:, None, None])
            return


def noise(rows: int, columns: int, draws: Draws) -> Pixels:
    """Every value equally likely at every place. Philox's bits are fixed by its definition, as those of `Draws` are."""
    bits = np.random.Philox(key=draws.integer(2**53)).random_raw(-(-3 * rows * columns // 8))
    return bits.astype("<u8").view(np.uint8)[:3 * rows * columns].reshape(3, rows, columns)


def cutout(pixels: Pixels, reach: int, fill: int, draws: Draws) -> Pixels:
    """A square of 2 x `reach` pixels around any place of the picture, painted grey; cut off at the borders."""
    _, height, width = pixels.shape
    row, column = draws.integer(height), draws.integer(width)
    painted = pixels.copy()
    painted[:, max(0, row - reach):row + reach, max(0, column - reach):column + reach] = fill
    return painted
