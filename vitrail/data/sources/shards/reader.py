"""Pictures out of shards, by range; what will be needed can be fetched while the model computes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import Future
from dataclasses import dataclass

import numpy as np

from vitrail.data.sources.shards.index import content_hash
from vitrail.data.sources.shards.store import Store
from vitrail.errors import DataError, ImageError

GAP = 16 * 2**10
"""Bytes between two pictures that are fetched and thrown away rather than asked for separately."""

MOST = 8 * 2**20
"""Bytes fetched at once."""


@dataclass(frozen=True)
class Piece:
    """A picture within a range that is being fetched."""

    fetched: Future[bytes]
    start: int
    size: int

    def result(self) -> bytes:
        return self.fetched.result()[self.start:self.start + self.size]

    def cancel(self) -> None:
        self.fetched.cancel()


@dataclass(frozen=True)
class ShardReader:
    """Row k of `table` (int64: shard, offset, size) is picture k; `hashes` are checked on every read where there are
    some. The shards are `files` of `store`."""

    store: Store
    files: tuple[str, ...]
    names: Sequence[str]
    table: np.ndarray
    hashes: Sequence[str] | None

    @property
    def far(self) -> bool:
        """Is waiting for a picture longer than decoding it?"""
        return self.store.far

    @property
    def mean_bytes(self) -> float:
        return float(self.table[:, 2].mean())

    def read(self, key: int) -> bytes:
        shard, offset, size = self.table[key].tolist()
        try:
            return self.finish(key, self.store.read(self.files[shard], offset, size))
        except OSError as error:
            raise ImageError(self.names[key], error.strerror or str(error)) from error

    def finish(self, key: int, encoded: bytes) -> bytes:
        """The bytes that came for a picture, where they are the right ones."""
        if len(encoded) < self.table[key, 2]:
            raise DataError(f"{self.store.address(self.files[self.table[key, 0]])} has become shorter since it was "
                            "opened. Nothing may write to shards in use; copy them again.")
        if self.hashes is not None and content_hash(encoded) != self.hashes[key]:
            raise ImageError(self.names[key], "its checksum differs from the index")
        return encoded

    def begin(self, keys: Sequence[int]) -> Iterator[tuple[int, Piece]]:
        """Begin to fetch these pictures; neighbors come in one piece. Every key comes back, in any order."""
        rows = self.table[np.asarray(keys, np.int64)]
        order = np.lexsort((rows[:, 1], rows[:, 0])).tolist()
        group: list[int] = []
        for place in order:
            if group and not joins(rows[group[0]], rows[group[-1]], rows[place]):
                yield from self.fetch(group, keys, rows)
                group = []
            group.append(place)
        if group:
            yield from self.fetch(group, keys, rows)

    def fetch(self, group: list[int], keys: Sequence[int], rows: np.ndarray) -> Iterator[tuple[int, Piece]]:
        shard, start = rows[group[0], :2].tolist()
        end = int((rows[group, 1] + rows[group, 2]).max())
        fetched = self.store.begin(self.files[shard], start, end - start)
        for place in group:
            yield keys[place], Piece(fetched, int(rows[place, 1]) - start, int(rows[place, 2]))


def joins(first: np.ndarray, last: np.ndarray, new: np.ndarray) -> bool:
    """Is a picture (shard, offset, size) near enough to those before it to come with them?"""
    near = new[1] <= last[1] + last[2] + GAP
    return bool(new[0] == first[0] and near and new[1] + new[2] - first[1] <= MOST)
