"""Readers of files and of arrays. Picklable, without state, safe to call from several threads."""

from __future__ import annotations

import os
import stat
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from vitrail.errors import ImageError

MAX_BYTES = 256 * 2**20
"""The largest encoded picture that is read."""


@dataclass(frozen=True)
class FileReader:
    """Pictures that are files. `paths[key]` is where each one is."""

    paths: Sequence[str]
    names_are_files: ClassVar[bool] = True

    def read(self, key: int) -> bytes:
        """The file's bytes. A pipe or socket that took the place of a file since the scan is never opened."""
        path = self.paths[key]
        try:
            status = os.stat(path)
            if not stat.S_ISREG(status.st_mode):
                raise ImageError(path, "is not a regular file")
            if not 0 < status.st_size <= MAX_BYTES:
                raise ImageError(path, f"has {status.st_size:,} bytes; 1 to {MAX_BYTES:,} are allowed")
            with open(path, "rb") as file:
                return file.read(status.st_size + 1)  # as many bytes of memory are asked for first
        except (OSError, ValueError) as error:
            raise ImageError(path, getattr(error, "strerror", None) or str(error)) from error


@dataclass(frozen=True)
class ArrayReader:
    """Pictures in memory: uint8 [pictures, height, width] or [pictures, height, width, 3], all of one size."""

    images: np.ndarray

    def read(self, key: int) -> np.ndarray:
        return np.asarray(self.images[key])
