"""A view of several crops of one picture, which is decoded once: what self-distillation learns from."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import UInt8
from torch import Tensor

from vitrail.data.augment import Augmentation
from vitrail.data.augment.multi_crop import GLOBALS
from vitrail.data.decode import decode
from vitrail.data.jpeg import jpeg_size
from vitrail.data.order import AUGMENT, Draws, Key
from vitrail.data.preprocess import Preprocess, resize
from vitrail.data.views import Looks, boxed, least_size
from vitrail.vocabulary import Box, Size


@dataclass(frozen=True)
class MultiCropView:
    """"global": two crops of the preprocessing's size; "local": smaller ones, where there are any. Each is varied as
    `augmentation` says, whose own `crop` is to be "none", and then as its `multi_crop` does; all out of the key."""

    preprocess: Preprocess
    augmentation: Augmentation

    @property
    def sizes(self) -> list[Size]:
        """Of each crop."""
        chosen = self.augmentation.multi_crop
        return [self.preprocess.size] * GLOBALS + [chosen.local_size] * chosen.local

    @property
    def shapes(self) -> dict[str, tuple[int, ...]]:
        chosen = self.augmentation.multi_crop
        local = {"local": (chosen.local, 3, *chosen.local_size)} if chosen.local else {}
        return {"global": (GLOBALS, 3, *self.preprocess.size), **local}

    def looks(self, encoded: bytes | np.ndarray, name: str, key: Key) -> Looks:
        draws, chosen = Draws(AUGMENT, *key), self.augmentation.multi_crop
        picture, whole, boxes = self.opened(encoded, name, draws)
        crops = []
        for box, size, kind in zip(boxes, self.sizes, chosen.kinds, strict=True):
            pixels = resize(boxed(picture, whole, box), size, self.preprocess.interpolation)
            pixels = self.augmentation.vary(pixels, self.preprocess.mean, draws)
            crops.append(torch.from_numpy(chosen.vary(pixels, kind, draws)))
        looks: dict[str, UInt8[Tensor, "crops 3 height width_px"]] = {"global": torch.stack(crops[:GLOBALS])}
        return looks | ({"local": torch.stack(crops[GLOBALS:])} if chosen.local else {})

    def opened(self, encoded: bytes | np.ndarray, name: str, draws: Draws) -> tuple[np.ndarray, Size, list[Box]]:
        """The picture, its whole size, and the boxes in that. A large JPEG is decoded at the fraction that still has
        enough pixels for each of them."""
        chosen, whole = self.augmentation.multi_crop, jpeg_size(encoded)
        if whole is None:
            picture = self.decoded(encoded, name)
            whole = picture.shape[0], picture.shape[1]
            return picture, whole, chosen.boxes(whole, draws)
        boxes = chosen.boxes(whole, draws)
        rows, columns = zip(*(least_size(whole, box, size) for box, size in zip(boxes, self.sizes, strict=True)),
                            strict=True)
        return self.decoded(encoded, name, (max(rows), max(columns))), whole, boxes

    def decoded(self, encoded: bytes | np.ndarray, name: str, min_size: Size | None = None) -> np.ndarray:
        return decode(encoded, name, background=self.preprocess.background, max_pixels=self.preprocess.max_pixels,
                      min_size=min_size)
