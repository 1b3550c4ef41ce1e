"""Decoded pictures of a small data set, kept in memory after their first reading.

A PNG photograph costs more to decode than a small model's step on it; from the second epoch on, it costs nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import cast

import numpy as np

from vitrail.data.ahead import Coming, FarReader
from vitrail.data.decode import decode, picture_size
from vitrail.data.preprocess import Preprocess
from vitrail.data.source import Reader, Split
from vitrail.errors import ImageError

MOST_BYTES = 2**29  # of decoded pictures; a data set that would need more is read from its files every time
LOOKED_AT = 64


@dataclass(frozen=True)
class RememberedReader:
    """Hands out pixels instead of files. Threads may decode the same picture twice at first, which does no harm."""

    reader: Reader
    names: dict[int, str]
    preprocess: Preprocess
    pictures: dict[int, np.ndarray] = field(default_factory=dict)

    @property
    def far(self) -> bool:
        return getattr(self.reader, "far", False)

    @property
    def mean_bytes(self) -> float:
        return cast(FarReader, self.reader).mean_bytes

    def read(self, key: int) -> np.ndarray:
        found = self.pictures.get(key)
        return self.decoded(key, self.reader.read(key)) if found is None else found

    def begin(self, keys: Sequence[int]) -> Iterable[tuple[int, Coming]]:
        """Only what is not remembered has to be fetched."""
        missing = [key for key in keys if key not in self.pictures]
        return cast(FarReader, self.reader).begin(missing) if missing else ()

    def finish(self, key: int, encoded: bytes) -> np.ndarray:
        found = self.pictures.get(key)
        return self.decoded(key, cast(FarReader, self.reader).finish(key, encoded)) if found is None else found

    def decoded(self, key: int, encoded: bytes | np.ndarray) -> np.ndarray:
        picture = decode(encoded, self.names[key], background=self.preprocess.background,
                         max_pixels=self.preprocess.max_pixels)
        self.pictures[key] = picture
        return picture


def remember(split: Split, preprocess: Preprocess) -> Split:
    """The same split with a memory, where everything fits into `MOST_BYTES` by the largest of some headers; else the
    split as it is."""
    largest = 0
    for index in np.unique(np.linspace(0, len(split) - 1, LOOKED_AT).astype(int)).tolist():
        try:
            encoded = split.read(index)
        except ImageError:
            continue
        if isinstance(encoded, np.ndarray):
            return split  # in memory already
        height, width = picture_size(encoded) or (0, 0)
        largest = max(largest, 3 * height * width)
    if largest * len(split) > MOST_BYTES:
        return split
    names = {int(key): name for key, name in zip(split.keys, split.names, strict=True)}
    return replace(split, reader=RememberedReader(split.reader, names, preprocess))
