"""bytes -> RGB uint8 [height, width, 3]: the one conversion for every format, mode and orientation.

What is in the file                   What comes out
------------------------------------  ---------------------------------------------------------------------------
1-bit, grey, palette, RGB, HSV        as they are; grey becomes three equal channels
grey, palette or RGB with alpha,      laid over the background: color * alpha + background * (1 - alpha)
  or with one transparent color
16-bit grey (PNG, TIFF, PGM)          value / 257, rounded: scaled, never clipped (a transparent color is ignored)
16-bit RGB, with or without alpha     the high byte (value // 256)
32-bit integers                       0 .. 65535 as 16-bit grey; anything outside: stretched from lowest to highest
floating point                        0 .. 1 times 255; else 0 .. 255 as they are; else 0 .. 65535 / 257; else
                                      stretched from lowest to highest. Not-a-number or infinity is an error
CMYK, YCCK                            red = (255 - cyan) * (255 - black) / 255, green and blue likewise
YCbCr                                 ITU-R 601 full range, as JPEG has it
CIE Lab                               through Little CMS, D50, to sRGB
several frames or pages               the first
EXIF orientation 1 to 8               applied; other values and damaged EXIF count as 1
embedded color profiles               ignored: the numbers are taken as sRGB

The only exception that comes out is ImageError, whatever the bytes are; and MemoryError where memory is short.
"""

from __future__ import annotations

import contextlib
import io
import re
import threading
import warnings
from collections.abc import Iterator
from functools import cache

import numpy as np
import simplejpeg
from PIL import ExifTags, Image, UnidentifiedImageError

from vitrail.data.jpeg import is_jpeg, jpeg_fraction, jpeg_orientation, jpeg_size, upright_pixels
from vitrail.data.modes import Color, from_grey, pillow_orientation, to_rgb
from vitrail.errors import ImageError
from vitrail.vocabulary import Picture, Size

WHITE: Color = (255, 255, 255)

MAX_PIXELS = 64_000_000
"""The largest picture that is decoded. A PNG of 10 kB can hold 88 million pixels and take half a gigabyte."""

MAX_SIDE = 65_535
"""The longest side, which is JPEG's own limit. Resizing a line of millions of pixels would need huge filter tables."""

FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF", "PPM", "AVIF", "JPEG2000", "QOI")
"""A closed list. Pillow opens more: some start other programs (EPS), some have no signature, so that noise passes for
a picture (TGA), and some hide a large picture behind a small header (ICO)."""


def decode(
    encoded: bytes | np.ndarray,
    name: str,
    *,
    background: Color = WHITE,
    max_pixels: int = MAX_PIXELS,
    min_size: Size | None = None,
) -> Picture:
    """One picture as RGB uint8 [height, width, 3], upright, over `background`, by the table above.

    `encoded` is a whole file, or pixels as uint8 [height, width] or [height, width, 3]. `name` is for messages only.
    More than `max_pixels` are refused from the header, before anything is decoded.
    `min_size` lets a JPEG be decoded at 1/2, 1/4 or 1/8 of its size, as long as height and width stay at least so
    large: faster, and slightly different pixels, so only training asks for it.
    Raises ImageError, and MemoryError where there is too little memory for a picture of this size.
    """
    try:
        if isinstance(encoded, np.ndarray):
            return from_pixels(encoded, name)
        if len(encoded) == 0:
            raise ImageError(name, "the file is empty")
        picture = from_jpeg(encoded, name, max_pixels, min_size) if is_jpeg(encoded) else None
        return picture if picture is not None else from_any(encoded, name, background, max_pixels)
    except ImageError:
        raise
    except UnidentifiedImageError as error:
        raise ImageError(name, f"not a picture in a format that is read ({', '.join(FORMATS)})") from error
    except Image.DecompressionBombError as error:
        found = re.search(r"\d+", str(error))  # Pillow's own limit, hit before the size can be asked for
        count = f"{int(found[0]) / 1e6:.4g} million" if found else "far more"
        raise ImageError(name, f"{count} pixels, more than the limit of {max_pixels / 1e6:.4g} million") from error
    except MemoryError as error:
        if not has_room(encoded, max_pixels):
            raise
        raise ImageError(name, "the file is damaged: it asks for more memory than its picture needs") from error
    except Exception as error:  # decoders of damaged files raise almost anything; none of it may stop a run
        raise ImageError(name, f"the file is damaged or cut short ({short(error)})") from error


SOME_ROOM = 2**28
"""Bytes that decoders take beside the pixels, generously."""


def has_room(encoded: bytes | np.ndarray, max_pixels: int) -> bool:
    """Is there memory for a picture of this size? Pillow and the conversions hold up to ten bytes a pixel."""
    height, width = picture_size(encoded) or (0, 0)
    try:
        np.empty(10 * min(height * width, max_pixels) + SOME_ROOM, np.uint8)  # never written, so it costs nothing
    except MemoryError:
        return False
    return True


def picture_size(encoded: bytes | np.ndarray) -> Size | None:
    """Height and width from the header alone, or None where there is no picture in it."""
    if isinstance(encoded, np.ndarray):
        return (encoded.shape[0], encoded.shape[1]) if encoded.ndim >= 2 else None
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Pillow's about large pictures; only the header is read here
            with Image.open(io.BytesIO(encoded), formats=FORMATS) as image:
                turned = image.getexif().get(ExifTags.Base.Orientation, 1) >= 5
                return (image.width, image.height) if turned else (image.height, image.width)
    except Exception:  # as in `decode`: damaged headers raise almost anything
        return None


def short(error: Exception) -> str:
    message = " ".join(str(error).split()) or type(error).__name__
    return message if len(message) <= 100 else message[:97] + "..."


def from_pixels(pixels: np.ndarray, name: str) -> Picture:
    if pixels.dtype != np.uint8 or pixels.ndim not in (2, 3) or (pixels.ndim == 3 and pixels.shape[2] != 3):
        raise ImageError(name, "pixels must be uint8 [height, width] or [height, width, 3], "
                               f"not {pixels.dtype} {list(pixels.shape)}")
    if pixels.size == 0:
        raise ImageError(name, f"there are no pixels in {list(pixels.shape)}")
    return np.ascontiguousarray(pixels) if pixels.ndim == 3 else from_grey(pixels)


def check_size(name: str, size: Size, max_pixels: int) -> None:
    height, width = size
    if height * width > max_pixels:
        raise ImageError(name, f"{width} x {height} = {height * width / 1e6:.4g} million pixels, "
                               f"more than the limit of {max_pixels / 1e6:.4g} million")
    if max(height, width) > MAX_SIDE:
        raise ImageError(name, f"{width} x {height}: a side is longer than the limit of {MAX_SIDE} pixels")


def from_jpeg(encoded: bytes, name: str, max_pixels: int, min_size: Size | None) -> Picture | None:
    """None where Pillow has to look: CMYK, and files that a strict reading refuses but a lenient one may accept."""
    upright = jpeg_size(encoded)
    if upright is None:
        return None
    check_size(name, upright, max_pixels)
    orientation = jpeg_orientation(encoded)
    height, width = upright[::-1] if orientation >= 5 else upright
    fraction = 1 if min_size is None else jpeg_fraction(upright, min_size)
    try:
        pixels = simplejpeg.decode_jpeg(
            encoded, min_height=-(-height // fraction), min_width=-(-width // fraction), min_factor=1)
    except ValueError:
        return None
    return upright_pixels(pixels, orientation)


def from_any(encoded: bytes, name: str, background: Color, max_pixels: int) -> Picture:
    with quiet_pillow(), Image.open(io.BytesIO(encoded), formats=known_formats()) as image:
        check_size(name, (image.height, image.width), max_pixels)
        image.load()
        check_size(name, (image.height, image.width), max_pixels)  # some formats correct their header while loading
        orientation = jpeg_orientation(encoded) if is_jpeg(encoded) else pillow_orientation(image)
        pixels = to_rgb(image, background)
    if pixels.size == 0:
        raise ImageError(name, "there are no pixels in it")
    return upright_pixels(pixels, orientation)


@cache
def known_formats() -> tuple[str, ...]:
    """Those of FORMATS that this build of Pillow has."""
    Image.init()
    return tuple(name for name in FORMATS if name in Image.OPEN)


SILENCE = ("ignore", None, Warning, re.compile(r"(PIL|vitrail\.data\.(decode|modes))\b"), 0)
silenced, silence_lock = 0, threading.Lock()


@contextlib.contextmanager
def quiet_pillow() -> Iterator[None]:
    """Pillow warns about odd metadata and large pictures; a file is either read or refused here, so nothing is said.

    `warnings.catch_warnings` swaps a list that all threads share, and two overlapping swaps leave it wrong. Here one
    entry stands at the head of the list while any thread decodes.
    """
    global silenced
    with silence_lock:
        silenced += 1
        if silenced == 1:
            warnings.filters.insert(0, SILENCE)  # type: ignore[attr-defined]
    try:
        yield
    finally:
        with silence_lock:
            silenced -= 1
            if silenced == 0:
                with contextlib.suppress(ValueError):  # somebody else has restored an older list meanwhile
                    warnings.filters.remove(SILENCE)  # type: ignore[attr-defined]
