"""From the bytes of JPEG files to what a model sees, and no further than it sees."""

from __future__ import annotations

import atexit
import ctypes
import os
import threading

import numpy as np
import torch
from torch import Tensor

from vitrail.native import build
from vitrail.native.kernels import is_watched

Area = tuple[int, int, int, int]
"""Top, left, height and width, in pixels."""

OTHERWISE = ("ATEN_CPU_CAPABILITY", "JSIMD_FORCENONE")
"""With these set, torch and libjpeg-turbo round in other ways, and the same numbers cannot be promised."""

LEAVING = 5.0
"""Seconds that a process which ends waits for the compiler, so that the next one finds what it made."""

THREADS = 2
"""One thread normalizes here, where torch takes all: faster than two of them (2026-11); more were not measured."""


class Compilation:
    """In a thread that nobody waits for: whoever asks meanwhile goes the other way, to the same pixels."""

    def __init__(self) -> None:
        self.found: ctypes.CDLL | str | None = None
        self.thread = threading.Thread(target=self.compile, name="vitrail-compiler", daemon=True)
        try:
            self.thread.start()
        except RuntimeError as error:  # the interpreter is about to end
            self.found = str(error)

    def compile(self) -> None:
        other = [name for name in OTHERWISE if name in os.environ]
        try:
            self.found = f"{other[0]} is set" if other else build.library(build.PICTURES)
        except Exception as error:  # whatever it is, pictures are read the other way
            self.found = f"they cannot be compiled: {type(error).__name__}: {error}"

    def leave(self) -> None:
        if self.found is None:
            self.thread.join(LEAVING)
        for process in list(build.running):
            build.end(process)


started: Compilation | None = None
starting = threading.Lock()


def compilation() -> Compilation:
    global started
    if started is None:
        with starting:
            if started is None:
                started = Compilation()
                atexit.register(started.leave)
    return started


def forget_the_parent() -> None:
    """A process that was forked has none of its threads."""
    global started, starting
    starting = threading.Lock()
    if started is not None and started.found is None:
        started = None


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=forget_the_parent)


def ready() -> ctypes.CDLL | None:
    """The compiled functions; None while they are being compiled, and where they cannot be."""
    found = compilation().found
    return None if isinstance(found, str) else found


def prepare() -> str:
    """Wait until they are compiled. Why there are none, or ""."""
    one = compilation()
    if one.found is None:
        one.thread.join()
    return one.found if isinstance(one.found, str) else ""


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
    if functions is None or not isinstance(encoded, bytes):
        return None
    pixels = np.empty((3, *window[2:]), np.uint8)
    asked = (ctypes.c_int64 * 12)(*picture, *part, *whole, *window)
    failed = functions.look(encoded, len(encoded), asked, bicubic, pixels.ctypes.data)
    return None if failed else pixels


pages_are_kept = False
"""Whether memory that is freed stays with this process. To write past the caches takes half of the time then, and twice
the time in pages that are new."""


def keep_pages() -> None:
    """Say so (`training/allocator.py`)."""
    global pages_are_kept
    pages_are_kept = True


def normalize(raw: Tensor, scale: Tensor, shift: Tensor) -> Tensor | None:
    """raw * scale - shift, uint8 [batch, colors, height, width] and a number for each color, in one pass; float32.
    None where torch must do it, or does it as fast."""
    functions = ready() if pages_are_kept and torch.get_num_threads() <= THREADS and not is_watched() else None
    asked = ((raw, torch.uint8), (scale, torch.float32), (shift, torch.float32))
    plain = all(one.dtype == dtype and one.device.type == "cpu" and one.is_contiguous() for one, dtype in asked)
    if functions is None or not plain or raw.dim() != 4 or not raw.shape[1:2] == scale.shape == shift.shape:
        return None
    result = torch.empty(raw.shape, dtype=torch.float32, device="cpu")
    functions.normalize(raw.data_ptr(), scale.data_ptr(), shift.data_ptr(), result.data_ptr(), raw.shape[0],
                        raw.shape[1], raw.shape[2] * raw.shape[3])
    return result
