"""Deterministic picture -> tensor: one value, saved in the Bundle, the same in training, evaluation and serving.

    bytes --decode--> picture [H, W, 3] --resize--> uint8 [3, h, w] --normalize (on the device)--> float [3, h, w]
"""

from __future__ import annotations

from typing import Annotated, Literal

import numpy as np
import torch
from jaxtyping import UInt8
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, model_validator
from torch import Tensor
from torch.nn import functional

from vitrail import native
from vitrail.data.decode import MAX_PIXELS, WHITE, check_size, decode
from vitrail.data.jpeg import jpeg_orientation, jpeg_size
from vitrail.data.modes import Color
from vitrail.vocabulary import Box, Images, Picture, RawImages, Size

Interpolation = Literal["bilinear", "bicubic"]

LONGEST = 4
"""With resize='crop', a picture longer than this many crops is cut to it first. What lies further out is never seen,
and resizing all of a picture of one by a million pixels would take more memory than a machine has."""


def as_pair(value: object) -> object:
    """One number means a square."""
    return (value, value) if isinstance(value, int) else value


class Preprocess(BaseModel):
    """How a picture of any size becomes the tensor that a model was trained on. Frozen; unknown keys are errors.

    `resize`: "squash" fits the whole picture into `size` whatever its shape; "crop" keeps the shape: the picture is
    resized until it covers `size / crop_fraction`, and the middle `size` of it is kept.
    `mean` and `std` are of values 0 to 1; 0.5 and 0.5 map them to [-1, 1], as the paper has it.
    `background` is what shows through transparent pixels, and `max_pixels` the largest picture that is decoded.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    size: Annotated[
        tuple[Annotated[int, Field(ge=1, le=16384)], Annotated[int, Field(ge=1, le=16384)]], BeforeValidator(as_pair)
    ]
    resize: Literal["squash", "crop"] = "squash"
    crop_fraction: Annotated[float, Field(gt=0, le=1)] = 1.0
    interpolation: Interpolation = "bilinear"
    mean: tuple[float, float, float] = (0.5, 0.5, 0.5)
    std: tuple[Annotated[float, Field(gt=0)], Annotated[float, Field(gt=0)], Annotated[float, Field(gt=0)]] = (
        0.5, 0.5, 0.5)
    background: Color = WHITE
    max_pixels: Annotated[int, Field(ge=1)] = MAX_PIXELS

    @model_validator(mode="after")
    def check_crop_fraction(self) -> Preprocess:
        if self.resize != "crop" and self.crop_fraction != 1:
            raise ValueError(f"crop_fraction {self.crop_fraction} has no meaning with resize={self.resize!r}. "
                             "Set resize='crop', or leave crop_fraction out.")
        return self

    def read(self, encoded: bytes | np.ndarray, name: str) -> UInt8[Tensor, "3 height width_px"]:
        """The file (or pixels) as `Split.read` gives it -> uint8 [3, h, w]. Raises ImageError.

        Everything that turns files into tensors goes through here, so it decodes with this background and limit.
        """
        seen = self.seen(encoded, name)
        if seen is not None:
            return torch.from_numpy(seen)
        return self.apply(decode(encoded, name, background=self.background, max_pixels=self.max_pixels))

    def seen(self, encoded: bytes | np.ndarray, name: str) -> UInt8[np.ndarray, "3 height width_px"] | None:
        """Of a JPEG only what is seen, the same pixels; None where all of it is to be decoded. Raises ImageError."""
        given = jpeg_size(encoded)
        if given is None:
            return None
        if self.resize == "squash":
            return self.part(encoded, name, given, Box(0, 0, *given), self.size)
        middle = middle_of(given, longest_seen(given, self.size))
        covered = covering((middle.height, middle.width), self.size, self.crop_fraction)
        return self.part(encoded, name, given, middle, covered, middle_of(covered, self.size))

    def part(self, encoded: bytes | np.ndarray, name: str, given: Size, box: Box, whole: Size,
             window: Box | None = None) -> UInt8[np.ndarray, "3 height width_px"] | None:
        """A box of a JPEG of the `given` size, resized to a `whole`, of that the window; None where all of it is to be
        decoded for that, the same pixels. Raises ImageError where there are too many."""
        check_size(name, given, self.max_pixels)
        if isinstance(encoded, np.ndarray) or jpeg_orientation(encoded) != 1:
            return None
        return native.look(encoded, given, box, whole, window or Box(0, 0, *whole), self.interpolation == "bicubic")

    def apply(self, picture: Picture) -> UInt8[Tensor, "3 height width_px"]:
        """A decoded picture [H, W, 3] -> uint8 [3, h, w]."""
        return torch.from_numpy(self.pixels(picture))

    def pixels(self, picture: Picture) -> UInt8[np.ndarray, "3 height width_px"]:
        """The same as an array: the training view goes on with it."""
        if self.resize == "squash":
            return resize(picture, self.size, self.interpolation)
        picture = cut_to(picture, longest_seen(picture.shape[:2], self.size))
        covered = covering(picture.shape[:2], self.size, self.crop_fraction)
        return central(resize(picture, covered, self.interpolation), self.size)

    def normalize(self, raw: RawImages, dtype: torch.dtype = torch.float32) -> Images:
        """uint8 [batch, 3, h, w] -> (raw / 255 - mean) / std, on the device of `raw`."""
        std, mean = (torch.tensor(one, dtype=torch.float32, device=raw.device) for one in (self.std, self.mean))
        scale, shift = 1 / (255 * std), mean / std
        fast = native.normalize(raw, scale, shift)
        if fast is not None:
            return fast.to(dtype)
        # In place on the fresh float copy: twice as fast on a CPU as `addcmul`, which does not vectorize the broadcast
        # (64 x 3 x 224 x 224, one core: 19 ms against 39 ms, 2026-11).
        return raw.to(torch.float32, copy=True).mul_(scale.view(3, 1, 1)).sub_(shift.view(3, 1, 1)).to(dtype)


def resize(picture: Picture, size: Size, interpolation: Interpolation) -> UInt8[np.ndarray, "3 height width_px"]:
    """Antialiased; uint8 [H, W, 3] -> uint8 [3, h, w]. A picture that has the size already is not touched.

    torch, not Pillow: the same filter to within one grey level, four times as fast, and it releases the interpreter.
    Its uint8 kernel runs in the calling thread alone, so loader threads do not fight over cores (362 x 272 -> 224 on
    one core: 0.2 ms against 0.8 ms; with torch at two threads, two loader threads give 1.9 times one, 2026-11).
    """
    if picture.shape[:2] == tuple(size):
        return np.array(picture.transpose(2, 0, 1), order="C")  # always a copy: training changes it in place
    # The copy is NumPy's because torch would split it over its threads; it also makes a cropped picture dense.
    image = torch.from_numpy(np.require(picture, requirements=["C", "W"])).permute(2, 0, 1)[None]
    resized = functional.interpolate(image, size=size, mode=interpolation, antialias=True)[0]
    return np.ascontiguousarray(resized.numpy())


def covering(given: Size, size: Size, fraction: float = 1.0) -> Size:
    """The size, in the shape of the `given` one, that covers `size / fraction`."""
    scale = max(side / fraction / whole for side, whole in zip(size, given, strict=True))
    height, width = (max(side, round(whole * scale)) for side, whole in zip(size, given, strict=True))
    return height, width


def longest_seen(given: Size, size: Size) -> Size:
    """How much of a picture a central crop shaped like `size` can see, with `LONGEST` times as much around it."""
    scale = max(side / whole for side, whole in zip(size, given, strict=True))
    height, width = (min(whole, -int(-LONGEST * side / scale // 1)) for side, whole in zip(size, given, strict=True))
    return height, width


def cut_to(picture: Picture, size: Size) -> Picture:
    box = middle_of(picture.shape[:2], size)
    return picture[box.top:box.top + box.height, box.left:box.left + box.width]


def middle_of(given: Size, size: Size) -> Box:
    return Box((given[0] - size[0]) // 2, (given[1] - size[1]) // 2, *size)


def central(pixels: UInt8[np.ndarray, "3 height width_px"], size: Size) -> UInt8[np.ndarray, "3 rows columns"]:
    return np.ascontiguousarray(cut_to(pixels.transpose(1, 2, 0), size).transpose(2, 0, 1))
