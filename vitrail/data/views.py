"""What the loader calls on each sample: small frozen values, the same in every thread and process.

    view(what Split.read gave, its name, key) -> uint8 tensor [3, height, width]
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from jaxtyping import UInt8
from torch import Tensor

from vitrail.data.augment import Augmentation
from vitrail.data.augment.crops import simple_crop
from vitrail.data.decode import decode, jpeg_size
from vitrail.data.order import AUGMENT, Draws, Key
from vitrail.data.preprocess import Preprocess, covering, cut_to, longest_seen, resize


class View(Protocol):
    """One way to look at a sample. Raises ImageError where the picture cannot be read."""

    @property
    def preprocess(self) -> Preprocess: ...

    def __call__(
        self, encoded: bytes | np.ndarray, name: str, key: Key
    ) -> UInt8[Tensor, "3 height width_px"]: ...


@dataclass(frozen=True)
class EvalView:
    """The deterministic view: `Preprocess.read`. The key is not used."""

    preprocess: Preprocess

    def __call__(
        self, encoded: bytes | np.ndarray, name: str, key: Key | None = None
    ) -> UInt8[Tensor, "3 height width_px"]:
        return self.preprocess.read(encoded, name)


@dataclass(frozen=True)
class TrainView:
    """The augmented view. Its random numbers are a pure function of the key."""

    preprocess: Preprocess
    augmentation: Augmentation

    def __call__(
        self, encoded: bytes | np.ndarray, name: str, key: Key
    ) -> UInt8[Tensor, "3 height width_px"]:
        draws = Draws(AUGMENT, *key)
        if self.augmentation.crop in ("random-resized", "inception"):
            pixels = self.cropped(encoded, name, draws)
        elif self.augmentation.crop == "simple":
            pixels = self.covered(encoded, name, draws)
        else:
            pixels = self.preprocess.pixels(self.decode(encoded, name))
        return torch.from_numpy(self.augmentation.vary(pixels, self.preprocess.mean, draws))

    def cropped(
        self, encoded: bytes | np.ndarray, name: str, draws: Draws
    ) -> UInt8[np.ndarray, "3 height width_px"]:
        """A random part of the picture at the target size. The part is chosen from the header, before decoding, so
        that a large JPEG is decoded at the fraction (1/2, 1/4, 1/8) that still holds enough pixels."""
        whole = jpeg_size(encoded)
        if whole is None:
            picture = self.decode(encoded, name)
            whole = picture.shape[0], picture.shape[1]
            top, left, height, width = self.augmentation.box(whole, draws)
        else:
            top, left, height, width = self.augmentation.box(whole, draws)
            rows, columns = self.preprocess.size
            least = math.ceil(whole[0] * rows / height), math.ceil(whole[1] * columns / width)
            picture = self.decode(encoded, name, least)
        down, across = picture.shape[0] / whole[0], picture.shape[1] / whole[1]
        first_row, first_column = round(top * down), round(left * across)
        last_row = max(first_row + 1, round((top + height) * down))
        last_column = max(first_column + 1, round((left + width) * across))
        part = picture[first_row:last_row, first_column:last_column]
        return resize(part, self.preprocess.size, self.preprocess.interpolation)

    def covered(
        self, encoded: bytes | np.ndarray, name: str, draws: Draws
    ) -> UInt8[np.ndarray, "3 height width_px"]:
        """A random part of the target size, out of the picture at the smallest size that covers it. A large JPEG is
        decoded at a fraction, as above."""
        size, whole = self.preprocess.size, jpeg_size(encoded)
        picture = self.decode(encoded, name, None if whole is None else covering(whole, size))
        picture = cut_to(picture, longest_seen(picture.shape[:2], size))
        return simple_crop(resize(picture, covering(picture.shape[:2], size), self.preprocess.interpolation), size,
                           draws)

    def decode(self, encoded: bytes | np.ndarray, name: str, min_size: tuple[int, int] | None = None) -> np.ndarray:
        preprocess = self.preprocess
        return decode(encoded, name, background=preprocess.background, max_pixels=preprocess.max_pixels,
                      min_size=min_size)
