"""From the bytes of JPEG files to what a model sees, and no further than it sees."""

from __future__ import annotations

import ctypes
from concurrent.futures import Future, ThreadPoolExecutor
from functools import cache

import numpy as np
import torch
from torch import Tensor

from vitrail.native import build

Area = tuple[int, int, int, int]
"""Top, left, height and width, in pixels."""


@cache
def compiling() -> Future[ctypes.CDLL | str]:
    """In the background: whoever asks meanwhile goes the other way, to the same pixels."""
    pool = ThreadPoolExecutor(1, thread_name_prefix="vitrail-compiler")
    future = pool.submit(build.library, build.PICTURES)
    pool.shutdown(wait=False)
    return future


def ready() -> ctypes.CDLL | None:
    """The compiled functions; None while they are being compiled, and where they cannot be."""
    future = compiling()
    found = future.result() if future.done() else None
    return None if isinstance(found, str) else found


def prepare() -> str:
    """Wait until they are compiled. Why there are none, or ""."""
    found = compiling().result()
    return found if isinstance(found, str) else ""


def look(
    encoded: bytes, picture: tuple[int, int], part: Area, whole: tuple[int, int], window: Area, bicubic: bool
) -> np.ndarray | None:
    """A `part` of a JPEG, resized to `whole` (height and width), and of that the `window`: uint8 [3, height, width].

    The same numbers as decoding all of it by libjpeg-turbo, cutting, and torch's antialiased resizing. `picture` is
    the height and width that it has without regard to how the camera was held.
    None where that other way must be gone: nothing is compiled (yet), and files that are not of the common kind
    (8 bits, one sequential scan, grey or YCbCr with color in full, half or quarter resolution) or are damaged.
    """
    functions = ready()
    if functions is None:
        return None
    pixels = np.empty((3, *window[2:]), np.uint8)
    asked = (ctypes.c_int64 * 12)(*picture, *part, *whole, *window)
    failed = functions.look(encoded, len(encoded), asked, bicubic, pixels.ctypes.data)
    return None if failed else pixels


def normalize(raw: Tensor, scale: Tensor, shift: Tensor) -> Tensor | None:
    """raw * scale - shift, uint8 [batch, colors, height, width] and a number for each color, in one pass; float32.
    None where torch must do it."""
    functions = ready()
    if functions is None or raw.device.type != "cpu" or not raw.is_contiguous() or raw.dim() != 4:
        return None
    result = torch.empty(raw.shape, dtype=torch.float32)
    functions.normalize(raw.data_ptr(), scale.contiguous().data_ptr(), shift.contiguous().data_ptr(),
                        result.data_ptr(), raw.shape[0], raw.shape[1], raw.shape[2] * raw.shape[3])
    return result
