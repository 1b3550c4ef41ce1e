"""Random variation of training pictures, on uint8 arrays. Every number drawn comes from the sample's own `Draws`.

NumPy and not torch: on small pictures the cost of a torch call is larger than the work, and loader threads must not
start torch's own threads.
"""

from __future__ import annotations

import math
from functools import lru_cache
from typing import Annotated, Literal, NamedTuple

import numpy as np
from jaxtyping import UInt8
from pydantic import BaseModel, ConfigDict, Field, model_validator

from vitrail.data.order import Draws
from vitrail.vocabulary import Size

Fraction = Annotated[float, Field(ge=0, le=1)]
Positive = Annotated[float, Field(gt=0)]
Pixels = UInt8[np.ndarray, "3 height width_px"]

ERASED_AREA = (0.02, 1 / 3)
ERASED_RATIO = (0.3, 1 / 0.3)
"""Area and height-to-width ratio of an erased rectangle (random erasing, arXiv 1708.04896)."""

LUMA = np.array((0.299, 0.587, 0.114), np.float32)[:, None, None]
"""What red, green and blue add to grey (ITU-R 601, as JPEG and Pillow have it)."""


class Box(NamedTuple):
    """A part of a picture, in pixels."""

    top: int
    left: int
    height: int
    width: int


class Augmentation(BaseModel):
    """What happens to a training picture besides `Preprocess`. Frozen; unknown keys are errors; all off by default.

    `crop`: "pad" moves the picture by up to `pad` of its size and repeats the edge; "random-resized" takes a part of
    `area` of the picture with a width-to-height `ratio` and resizes it (the "inception crop").
    `flip`, `erase`: probabilities of a left-right flip and of an erased rectangle.
    `brightness`, `contrast`, `saturation`: each is changed by a random factor within 1 +- this.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    crop: Literal["none", "pad", "random-resized"] = "none"
    pad: Annotated[float, Field(gt=0, le=0.5)] = 0.125
    area: tuple[Annotated[float, Field(gt=0, le=1)], Annotated[float, Field(gt=0, le=1)]] = (0.05, 1.0)
    ratio: tuple[Positive, Positive] = (3 / 4, 4 / 3)
    flip: Fraction = 0.0
    erase: Fraction = 0.0
    brightness: Fraction = 0.0
    contrast: Fraction = 0.0
    saturation: Fraction = 0.0

    @model_validator(mode="after")
    def check_ranges(self) -> Augmentation:
        for name, (low, high) in (("area", self.area), ("ratio", self.ratio)):
            if low > high:
                raise ValueError(f"{name} ({low}, {high}) runs backwards: give the smaller number first.")
        return self

    def box(self, size: Size, draws: Draws) -> Box:
        """A random part of a picture of this size: `area` of it, as wide for its height as `ratio` says.

        Ten tries; where none fits, the largest central part whose shape is allowed.
        """
        height, width = size
        for _ in range(10):
            area = height * width * draws.uniform(*self.area)
            ratio = math.exp(draws.uniform(math.log(self.ratio[0]), math.log(self.ratio[1])))
            rows, columns = max(1, round(math.sqrt(area / ratio))), max(1, round(math.sqrt(area * ratio)))
            if rows <= height and columns <= width:
                return Box(draws.integer(height - rows + 1), draws.integer(width - columns + 1), rows, columns)
        ratio = min(max(width / height, self.ratio[0]), self.ratio[1])
        rows, columns = min(height, round(width / ratio)), min(width, round(height * ratio))
        rows, columns = max(1, rows), max(1, columns)
        return Box((height - rows) // 2, (width - columns) // 2, rows, columns)

    def vary(self, pixels: Pixels, fill: tuple[float, float, float], draws: Draws) -> Pixels:
        """All that comes after resizing. `fill` (0 to 1) is the color of an erased rectangle.

        May change `pixels` in place; the result is dense.
        """
        if self.crop == "pad":
            pixels = moved(pixels, self.pad, draws)
        if self.flip and draws.uniform() < self.flip:
            pixels = pixels[:, :, ::-1]
        if self.brightness or self.contrast or self.saturation:
            pixels = self.recolored(pixels, draws)
        pixels = np.ascontiguousarray(pixels)
        if self.erase and draws.uniform() < self.erase:
            erase(pixels, fill, draws)
        return pixels

    def recolored(self, pixels: Pixels, draws: Draws) -> Pixels:
        """Brightness, then contrast around the mean grey, then saturation around each pixel's grey; rounded and
        clipped once, at the end."""
        strengths = (self.brightness, self.contrast, self.saturation)
        brightness, contrast, saturation = (draws.uniform(1 - strength, 1 + strength) for strength in strengths)
        values = pixels.astype(np.float32)
        grey = (values * LUMA).sum(axis=0)
        mean = float(grey.mean())
        # All three are linear, so they are one: each channel keeps `own` of itself and takes `shared` of the grey.
        own, shared = brightness * contrast * saturation, brightness * contrast * (1 - saturation)
        values *= own
        values += grey * shared + (brightness * (1 - contrast) * mean + 0.5)
        return np.clip(values, 0, 255, out=values).astype(np.uint8)


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


def erase(pixels: Pixels, fill: tuple[float, float, float], draws: Draws) -> None:
    """Paint one random rectangle. Ten tries; where none fits, nothing happens."""
    _, height, width = pixels.shape
    for _ in range(10):
        area = height * width * draws.uniform(*ERASED_AREA)
        ratio = math.exp(draws.uniform(math.log(ERASED_RATIO[0]), math.log(ERASED_RATIO[1])))
        rows, columns = round(math.sqrt(area * ratio)), round(math.sqrt(area / ratio))
        if 0 < rows < height and 0 < columns < width:
            top, left = draws.integer(height - rows + 1), draws.integer(width - columns + 1)
            color = np.array(fill) * 255
            pixels[:, top:top + rows, left:left + columns] = np.clip(np.rint(color), 0, 255)[:, None, None]
            return
