"""Pictures of every mode that Pillow has -> RGB, by the table of `decode.py`."""

from __future__ import annotations

import contextlib
from typing import Annotated

import numpy as np
from PIL import Image, ImageCms
from pydantic import Field

from vitrail.vocabulary import Picture

Color = tuple[
    Annotated[int, Field(ge=0, le=255)], Annotated[int, Field(ge=0, le=255)], Annotated[int, Field(ge=0, le=255)]
]
"""Red, green and blue, 0 to 255."""


def to_rgb(image: Image.Image, background: Color) -> np.ndarray:
    if image.mode.startswith("I") or image.mode == "F":
        return from_grey(from_numbers(np.asarray(image), sixteen_bits=image.mode.startswith("I;16")))
    if image.mode == "LAB":
        lab, srgb = ImageCms.createProfile("LAB"), ImageCms.createProfile("sRGB")
        return np.asarray(ImageCms.applyTransform(image, ImageCms.buildTransform(lab, srgb, "LAB", "RGB")))
    if not image.has_transparency_data:
        return np.asarray(image.convert("RGB"))
    image = image.convert("RGBA")
    canvas = Image.new("RGBA", image.size, (*background, 255))
    return np.asarray(Image.alpha_composite(canvas, image).convert("RGB"))


def from_numbers(values: np.ndarray, sixteen_bits: bool) -> np.ndarray:
    """Numbers of more than 8 bits -> uint8, by the rows of the table for 16 and 32 bits and for floating point."""
    if values.size == 0:
        return values.astype(np.uint8)
    if sixteen_bits:
        return ((values.astype(np.uint32) + 128) // 257).astype(np.uint8)
    low, high = float(values.min()), float(values.max())
    if not np.isfinite(low + high):
        raise ValueError("some values are not finite numbers")
    is_float = values.dtype.kind == "f"
    values = values.astype(np.float64)
    if low < 0 or high > 65535:
        values = (values - low) * (255 / (high - low))
    elif is_float and high <= 1:
        values *= 255
    elif not is_float or high > 255:
        values /= 257
    return np.rint(values).astype(np.uint8)


def from_grey(values: np.ndarray) -> Picture:
    return np.repeat(values[:, :, None], 3, axis=2)


def pillow_orientation(image: Image.Image) -> int:
    with contextlib.suppress(Exception):  # damaged EXIF does not make a good picture bad
        orientation = int(image.getexif().get(0x0112, 1))
        return orientation if 1 <= orientation <= 8 else 1
    return 1
