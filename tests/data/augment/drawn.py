"""What the tests of augmentation share: small pictures, and draws that are known."""

from __future__ import annotations

import numpy as np

from vitrail.data.order import AUGMENT, Draws

MIDDLE = (0.5, 0.5, 0.5)
SIZES = [(24, 32), (25, 31), (1, 1), (1, 9), (7, 1), (2, 2), (3, 3)]


class Chosen(Draws):
    """Draws that give what a test wants: places between low and high, 0 to 1."""

    def __init__(self, *places: float) -> None:
        self.places = list(places)

    def uniform(self, low: float = 0.0, high: float = 1.0) -> float:
        return low + (high - low) * self.places.pop(0)


def draws(sample: int, epoch: int = 0, seed: int = 0) -> Draws:
    return Draws(AUGMENT, seed, epoch, sample)


def planes(height: int = 24, width: int = 32, seed: int = 0) -> np.ndarray:
    """uint8 [3, height, width]: slow waves over the whole range with some noise, other ones in each channel."""
    random = np.random.default_rng(seed)
    rows, columns = np.mgrid[0:height, 0:width]
    values = [130 + 120 * np.sin(rows * random.uniform(0.05, 0.4) + columns * random.uniform(0.05, 0.4)
                                 + random.uniform(0, 6)) + random.normal(0, 8, (height, width)) for _ in range(3)]
    return np.clip(values, 0, 255).astype(np.uint8)


def interleaved(pixels: np.ndarray) -> np.ndarray:
    """As Pillow has it: [height, width, 3]."""
    return np.ascontiguousarray(pixels.transpose(1, 2, 0))


def apart(pixels: np.ndarray, others: np.ndarray) -> int:
    """The largest difference in grey levels."""
    assert pixels.shape == others.shape
    return int(np.abs(pixels.astype(int) - others).max())
