"""What the loader calls on each sample: small frozen values, the same in every thread and process.

    view.looks(what Split.read gave, its name, key) -> {"image": uint8 tensor [3, height, width]}
    view(the same) -> that tensor, of a view that has only one

`MultiCropView` (multi_crop.py) is a view of several crops.
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
from vitrail.data.decode import decode
from vitrail.data.jpeg import jpeg_fraction, jpeg_size
from vitrail.data.order import AUGMENT, Draws, Key
from vitrail.data.preprocess import Preprocess, covering, cut_to, longest_seen, middle_of, resize
from vitrail.vocabulary import Box, Picture, Size

Looks = dict[str, UInt8[Tensor, "*shape"]]
"""What one view saw of one sample, by the names that a batch has for it."""


class View(Protocol):
    """One way to look at a sample. Raises ImageError where the picture cannot be read."""

    @property
    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Of each of its looks, by name."""
        ...

    def looks(self, encoded: bytes | np.ndarray, name: str, key: Key) -> Looks: ...


class OneImage:
    """A view that sees a sample once, at the size of its preprocessing."""

    preprocess: Preprocess

    @property
    def shapes(self) -> dict[str, tuple[int, ...]]:
        return {"image": (3, *self.preprocess.size)}

    def looks(self, encoded: bytes | np.ndarray, name: str, key: Key) -> Looks:
        return {"image": self(encoded, name, key)}

    def __call__(self, encoded: bytes | np.ndarray, name: str, key: Key) -> UInt8[Tensor, "3 height width_px"]:
        raise TypeError(f"{type(self).__name__} must say what it sees")


@dataclass(frozen=True)
class EvalView(OneImage):
    """The deterministic view: `Preprocess.read`. The key is not used."""

    preprocess: Preprocess

    def __call__(
        self, encoded: bytes | np.ndarray, name: str, key: Key | None = None
    ) -> UInt8[Tensor, "3 height width_px"]:
        return self.preprocess.read(encoded, name)


@dataclass(frozen=True)
class TrainView(OneImage):
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
        whole, size = jpeg_size(encoded), self.preprocess.size
        if whole is None:
            picture = self.decode(encoded, name)
            whole = picture.shape[0], picture.shape[1]
            box = self.augmentation.box(whole, draws)
        else:
            box = self.augmentation.box(whole, draws)
            least = least_size(whole, box, size)
            pixels = self.preprocess.part(encoded, name, whole, box, size) if jpeg_fraction(whole, least) == 1 else None
            if pixels is not None:
                return pixels
            picture = self.decode(encoded, name, least)
        return resize(boxed(picture, whole, box), size, self.preprocess.interpolation)

    def covered(
        self, encoded: bytes | np.ndarray, name: str, draws: Draws
    ) -> UInt8[np.ndarray, "3 height width_px"]:
        """A random part of the target size, out of the picture at the smallest size that covers it. A large JPEG is
        decoded at a fraction, as above."""
        preprocess, size, whole, pixels = self.preprocess, self.preprocess.size, jpeg_size(encoded), None
        if whole is not None and jpeg_fraction(whole, covering(whole, size)) == 1:
            middle = middle_of(whole, longest_seen(whole, size))
            pixels = preprocess.part(encoded, name, whole, middle, covering((middle.height, middle.width), size))
        if pixels is None:
            picture = self.decode(encoded, name, None if whole is None else covering(whole, size))
            picture = cut_to(picture, longest_seen(picture.shape[:2], size))
            pixels = resize(picture, covering(picture.shape[:2], size), preprocess.interpolation)
        return simple_crop(pixels, size, draws)

    def decode(self, encoded: bytes | np.ndarray, name: str, min_size: tuple[int, int] | None = None) -> np.ndarray:
        preprocess = self.preprocess
        return decode(encoded, name, background=preprocess.background, max_pixels=preprocess.max_pixels,
                      min_size=min_size)


def least_size(whole: Size, box: Box, size: Size) -> Size:
    """Of a `whole` picture, so that its part in the box still has the pixels of `size`."""
    return math.ceil(whole[0] * size[0] / box.height), math.ceil(whole[1] * size[1] / box.width)


def boxed(picture: Picture, whole: Size, box: Box) -> Picture:
    """What is in the box, which lies in a `whole` that may have been decoded smaller; at least one pixel."""
    down, across = picture.shape[0] / whole[0], picture.shape[1] / whole[1]
    first_row, first_column = round(box.top * down), round(box.left * across)
    last_row = max(first_row + 1, round((box.top + box.height) * down))
    last_column = max(first_column + 1, round((box.left + box.width) * across))
    return picture[first_row:last_row, first_column:last_column]
