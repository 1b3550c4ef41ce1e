"""The settings of augmentation as one frozen value, and the order in which they act."""

from __future__ import annotations

from typing import Annotated, Literal

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, model_validator

from vitrail.data.augment.colors import recolored
from vitrail.data.augment.crops import inception_box, moved, resized_box
from vitrail.data.augment.erasing import erase
from vitrail.data.augment.multi_crop import MultiCrop
from vitrail.data.augment.pixels import Pixels, mirrored
from vitrail.data.augment.policies import RandAugment, three_augment, trivial_augment
from vitrail.data.order import Draws
from vitrail.vocabulary import Box, Size

Fraction = Annotated[float, Field(ge=0, le=1)]
Positive = Annotated[float, Field(gt=0)]
Beta = Annotated[float, Field(ge=0, le=100)]


class Augmentation(BaseModel):
    """What happens to training pictures besides `Preprocess`. Frozen; unknown keys are errors; all off by default.

    `crop`: "pad" moves the picture by up to `pad` of its size and repeats the edge; "random-resized" (torchvision's)
    and "inception" (TensorFlow's, as the ViT recipes have it) take a part of `area` of the picture with a
    width-to-height `ratio` and resize it; "simple" resizes the whole until it covers the target and cuts that out.
    `flip`, `erase`: probabilities of a left-right flip, and of a rectangle painted over with the mean color or noise.
    `randaugment`, `trivial_augment`, `three_augment`: see `policies.py`; where several are on they follow each other.
    `brightness`, `contrast`, `saturation`: each is changed by a random factor within 1 +- this.
    `mixup`, `cutmix`: what is done to a whole batch after all this, by the parameter of their Beta distribution;
    with both, each group of `mix_group` pictures draws which; see `mix.py`.
    `multi_crop`: the crops of an objective that compares several; used by such a one alone.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    crop: Literal["none", "pad", "random-resized", "inception", "simple"] = "none"
    pad: Annotated[float, Field(gt=0, le=0.5)] = 0.125
    area: tuple[Annotated[float, Field(gt=0, le=1)], Annotated[float, Field(gt=0, le=1)]] = (0.05, 1.0)
    ratio: tuple[Positive, Positive] = (3 / 4, 4 / 3)
    flip: Fraction = 0.0
    erase: Fraction = 0.0
    erase_with: Literal["mean", "noise"] = "mean"
    randaugment: RandAugment = RandAugment()
    trivial_augment: bool = False
    three_augment: bool = False
    brightness: Fraction = 0.0
    contrast: Fraction = 0.0
    saturation: Fraction = 0.0
    mixup: Beta = 0.0
    cutmix: Beta = 0.0
    mix_group: Annotated[int, Field(ge=2)] = 8
    multi_crop: MultiCrop = MultiCrop()

    @model_validator(mode="after")
    def check_ranges(self) -> Augmentation:
        for name, (low, high) in (("area", self.area), ("ratio", self.ratio)):
            if low > high:
                raise ValueError(f"{name} ({low}, {high}) runs backwards: give the smaller number first.")
        return self

    def box(self, size: Size, draws: Draws) -> Box:
        """A random part of a picture of this size: `area` of it, as wide for its height as `ratio` says."""
        way = inception_box if self.crop == "inception" else resized_box
        return way(size, self.area, self.ratio, draws)

    def vary(self, pixels: Pixels, mean: tuple[float, float, float], draws: Draws) -> Pixels:
        """All that comes after resizing. `mean` (0 to 1) is the color of an erased rectangle.

        May change `pixels` in place; the result is dense.
        """
        if self.crop == "pad":
            pixels = moved(pixels, self.pad, draws)
        if self.flip and draws.uniform() < self.flip:
            pixels = mirrored(pixels)
        pixels = np.ascontiguousarray(pixels)
        pixels = self.randaugment(pixels, draws)
        if self.trivial_augment:
            pixels = trivial_augment(pixels, draws)
        if self.three_augment:
            pixels = three_augment(pixels, draws)
        if self.brightness or self.contrast or self.saturation:
            strengths = (self.brightness, self.contrast, self.saturation)
            pixels = recolored(pixels, *(draws.uniform(1 - strength, 1 + strength) for strength in strengths))
        if self.erase and draws.uniform() < self.erase:
            erase(pixels, mean if self.erase_with == "mean" else None, draws)
        return pixels
