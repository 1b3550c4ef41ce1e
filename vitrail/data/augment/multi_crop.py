"""Several crops of one picture (SwAV, arXiv 2006.09882), recolored as DINO does (arXiv 2104.14294, appendix A).

Two global crops and some local ones, whose small area has to be recognized from. What each goes through, in this order:
brightness, contrast, saturation and hue; grey; blur; and, of the second global crop, inverted highlights.
"""

from __future__ import annotations

from typing import Annotated, Literal, NamedTuple

import numpy as np
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from vitrail.data.augment.colors import blurred, greyed, hue_turned, recolored, solarized
from vitrail.data.augment.crops import resized_box
from vitrail.data.augment.pixels import Pixels
from vitrail.data.order import Draws
from vitrail.data.preprocess import as_pair
from vitrail.vocabulary import Box, Size

Share = Annotated[float, Field(ge=0, le=1)]
Area = Annotated[float, Field(gt=0, le=1)]
Positive = Annotated[float, Field(gt=0)]
Side = Annotated[int, Field(ge=1, le=16384)]
Kind = Literal["first", "second", "local"]

GLOBALS = 2
LIGHT = 128
"""From here on values are inverted, where they are."""


class ByKind(NamedTuple):
    """A probability for the first and the second global crop, and for local ones."""

    first: Share
    second: Share
    local: Share


class MultiCrop(BaseModel):
    """Areas are shares of the picture's. Global crops have the size of the preprocessing, local ones `local_size`, a
    multiple of the model's patch. `recolored`, `grey`, `blur`, `solarize`: probabilities, the last one of the second
    global crop; `brightness`, `contrast`, `saturation`: each changes by a factor within 1 +- this; `hue`: by at most
    this share of a whole turn. `blur_radius`: standard deviations in pixels."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    local: Annotated[int, Field(ge=0, le=32)] = 8
    local_size: Annotated[tuple[Side, Side], BeforeValidator(as_pair)] = (96, 96)
    global_area: tuple[Area, Area] = (0.4, 1.0)
    local_area: tuple[Area, Area] = (0.05, 0.4)
    ratio: tuple[Positive, Positive] = (3 / 4, 4 / 3)
    recolored: Share = 0.8
    brightness: Share = 0.4
    contrast: Share = 0.4
    saturation: Share = 0.2
    hue: Annotated[float, Field(ge=0, le=0.5)] = 0.1
    grey: Share = 0.2
    blur: ByKind = ByKind(1.0, 0.1, 0.5)
    blur_radius: tuple[Positive, Positive] = (0.1, 2.0)
    solarize: Share = 0.2

    @model_validator(mode="after")
    def check_ranges(self) -> MultiCrop:
        for name in ("global_area", "local_area", "ratio", "blur_radius"):
            low, high = getattr(self, name)
            if low > high:
                raise ValueError(f"{name} ({low}, {high}) runs backwards: give the smaller number first.")
        return self

    @property
    def kinds(self) -> tuple[Kind, ...]:
        """Of each crop."""
        local: list[Kind] = ["local"] * self.local
        return "first", "second", *local

    def boxes(self, size: Size, draws: Draws) -> list[Box]:
        """One for each crop of a picture of this size (torchvision's, which DINO's code has)."""
        return [resized_box(size, self.local_area if kind == "local" else self.global_area, self.ratio, draws)
                for kind in self.kinds]

    def vary(self, pixels: Pixels, kind: Kind, draws: Draws) -> Pixels:
        if self.recolored and draws.uniform() < self.recolored:
            strengths = (self.brightness, self.contrast, self.saturation)
            pixels = recolored(pixels, *(draws.uniform(1 - strength, 1 + strength) for strength in strengths))
            pixels = hue_turned(pixels, draws.uniform(-self.hue, self.hue)) if self.hue else pixels
        if self.grey and draws.uniform() < self.grey:
            pixels = greyed(pixels)
        probability = getattr(self.blur, kind)
        if probability and draws.uniform() < probability:
            pixels = blurred(pixels, draws.uniform(*self.blur_radius))
        if kind == "second" and self.solarize and draws.uniform() < self.solarize:
            pixels = solarized(pixels, LIGHT)
        return np.ascontiguousarray(pixels)
