"""The array that every operation takes and gives."""

from __future__ import annotations

import numpy as np
from jaxtyping import UInt8

Pixels = UInt8[np.ndarray, "3 height width_px"]
"""A picture at the size the model sees, planes of red, green and blue."""

Plane = UInt8[np.ndarray, "height width_px"]


def mirrored(pixels: Pixels) -> Pixels:
    """Left for right, a dense copy. Eight bytes at a time where they fit: the reverse of a row of words, each with its
    bytes turned round, is the row of bytes reversed (3 x 224 x 224: 11 for 35 us, 2026-11)."""
    if pixels.shape[-1] % 8 or not pixels.flags.c_contiguous:
        return pixels[..., ::-1].copy()
    return pixels.view(np.uint64)[..., ::-1].byteswap().view(np.uint8)
