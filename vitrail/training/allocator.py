"""Keep freed memory for the next step instead of returning it to the system.

glibc hands every large block back to the kernel when it is freed; the next step's activations then fault in again page
by page. On a two-core server this took a quarter of the time of elementwise work (docs/notebook.md, 2026-11-23).
"""

from __future__ import annotations

import ctypes
import sys

from vitrail import native

M_TRIM_THRESHOLD, M_TOP_PAD, M_MMAP_MAX = -1, -2, -4  # malloc.h


def keep_freed_memory() -> bool:
    """For this process, from now on. True where the C library understood (glibc); harmless elsewhere."""
    if not sys.platform.startswith("linux"):
        return False
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError):
        return False
    kept = bool(mallopt(M_MMAP_MAX, 0) and mallopt(M_TRIM_THRESHOLD, -1) and mallopt(M_TOP_PAD, 64 * 2**20))
    if kept:
        native.keep_pages()
    return kept
