"""JPEG, the fast way: libjpeg-turbo without Pillow's copies, to the same bits; and how the camera was held."""

from __future__ import annotations

import struct

import numpy as np
import simplejpeg

from vitrail.vocabulary import Picture, Size


def is_jpeg(encoded: bytes) -> bool:
    return encoded[:3] == b"\xff\xd8\xff"


def jpeg_size(encoded: bytes | np.ndarray) -> Size | None:
    """Upright height and width from the header of a JPEG that `min_size` can speed up; None for everything else."""
    if isinstance(encoded, np.ndarray) or not is_jpeg(encoded):
        return None
    try:
        height, width, space, _ = simplejpeg.decode_jpeg_header(encoded)
    except ValueError:
        return None
    if space in ("CMYK", "YCCK"):
        return None
    return (width, height) if jpeg_orientation(encoded) >= 5 else (height, width)


def jpeg_fraction(size: Size, min_size: Size) -> int:
    """By how much a JPEG may be shrunk while it is decoded. Other fractions exist (7/8 .. 3/8) and are slower."""
    for fraction in (8, 4, 2):
        if all(-(-whole // fraction) >= least for whole, least in zip(size, min_size, strict=True)):
            return fraction
    return 1


def jpeg_orientation(encoded: bytes) -> int:
    """The EXIF orientation, 1 to 8, out of the segments before the picture; 1 where there is none."""
    place = 2
    while place + 4 <= len(encoded) and encoded[place] == 0xFF:
        marker = encoded[place + 1]
        if marker == 0xFF:  # padding
            place += 1
            continue
        if marker in (0xDA, 0xD9):  # the picture itself, or the end
            break
        length = int.from_bytes(encoded[place + 2:place + 4], "big")
        if marker == 0xE1 and encoded[place + 4:place + 10] == b"Exif\0\0":
            return exif_orientation(encoded[place + 10:place + 2 + length])
        place += 2 + length
    return 1


def exif_orientation(exif: bytes) -> int:
    """Tag 0x0112 of the first directory of a TIFF header; 1 where it is missing or damaged."""
    order = {b"II": "<", b"MM": ">"}.get(exif[:2])
    if order is None:
        return 1
    try:
        (start,) = struct.unpack_from(order + "I", exif, 4)
        (entries,) = struct.unpack_from(order + "H", exif, start)
        for entry in range(entries):
            tag, kind, count, value = struct.unpack_from(order + "HHIH", exif, start + 2 + 12 * entry)
            if (tag, kind, count) == (0x0112, 3, 1):
                return value if 1 <= value <= 8 else 1
    except struct.error:
        pass
    return 1


def upright_pixels(pixels: np.ndarray, orientation: int) -> Picture:
    """Undo the way the camera was held (EXIF 2.32, tag 0x0112)."""
    if orientation >= 5:
        pixels = pixels.swapaxes(0, 1)
    if orientation in (3, 4, 7, 8):
        pixels = pixels[::-1]
    if orientation in (2, 3, 6, 7):
        pixels = pixels[:, ::-1]
    return np.ascontiguousarray(pixels)
