"""Which sample comes next, and which random numbers it gets: pure functions of a seed and of counters.

    position p of the endless stream  ->  epoch p // samples, place p % samples  ->  sample order[place]

Nothing is remembered between calls, so a run that stops at any position goes on at it, and any number of ranks or
workers only cuts the same stream into other pieces.

The bits come from Philox and BLAKE2b, whose outputs are fixed by their definition. NumPy promises stable *bits* but
not stable `permutation` or `integers` between its versions (NEP 19), and a checkpoint must outlive both.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from functools import lru_cache
from hashlib import blake2b
from typing import NamedTuple

import numpy as np
from jaxtyping import Int

from vitrail.errors import UsageError

ORDER, AUGMENT, REPLACE, MIX = b"order", b"augment", b"replace", b"mix"
"""What a number is drawn for. Numbers for one purpose tell nothing about those for another."""


class Key(NamedTuple):
    """What decides the random numbers of one sample in one epoch."""

    seed: int
    epoch: int
    sample: int


class Draws:
    """An endless row of uniform numbers in [0, 1) that depends on nothing but the purpose and the key.

    One hash gives eight numbers and costs about a microsecond; a NumPy generator costs ten to build.
    """

    __slots__ = ("_block", "_key", "_left", "_purpose")

    def __init__(self, purpose: bytes, *key: int) -> None:
        self._purpose, self._key = purpose, key
        self._block = 0
        self._left: Iterator[int] = iter(())

    def uniform(self, low: float = 0.0, high: float = 1.0) -> float:
        number = next(self._left, None)
        if number is None:
            self._left = iter(hashed(self._purpose, *self._key, self._block))
            self._block += 1
            number = next(self._left)
        return low + (high - low) * ((number >> 11) * 2.0**-53)

    def integer(self, count: int) -> int:
        """One of 0 .. count - 1."""
        return int(self.uniform() * count)


def hashed(purpose: bytes, *numbers: int) -> tuple[int, ...]:
    """Eight 64-bit numbers out of some integers (taken modulo 2**64)."""
    message = struct.pack(f"<{len(numbers)}Q", *(number & 0xFFFFFFFFFFFFFFFF for number in numbers))
    return struct.unpack("<8Q", blake2b(message, person=purpose).digest())


@lru_cache(maxsize=4)  # a batch may straddle two epochs, and training and probing may each walk a stream
def sample_order(samples: int, seed: int, epoch: int) -> Int[np.ndarray, " samples"]:
    """The order of one epoch: a read-only permutation of 0 .. samples - 1, int64."""
    low, high, *_ = hashed(ORDER, seed, epoch)
    keys = np.random.Philox(key=low | high << 64).random_raw(samples)
    order = np.argsort(keys, kind="stable").astype(np.int64, copy=False)
    order.flags.writeable = False
    return order


def stream_indices(
    samples: int, seed: int, start: int, count: int
) -> tuple[Int[np.ndarray, " count"], Int[np.ndarray, " count"]]:
    """Samples and epochs at positions start .. start + count - 1 of the endless stream."""
    if samples < 1:
        raise UsageError("There is no sample to draw from: the split is empty.")
    positions = np.arange(start, start + count, dtype=np.int64)
    epochs = positions // samples
    pieces = [sample_order(samples, seed, epoch)[positions[epochs == epoch] % samples]
              for epoch in range(start // samples, (start + count - 1) // samples + 1)]
    return np.concatenate(pieces), epochs


def rank_slice(batch_size: int, world: int, rank: int) -> slice:
    """Which part of every global batch belongs to a rank. Raises UsageError where the parts would not be equal."""
    if not 0 <= rank < world:
        raise UsageError(f"Rank {rank} of {world} does not exist: ranks are 0 to {world - 1}.")
    if batch_size < 1 or batch_size % world:
        valid = ", ".join(str(n) for n in range(1, max(batch_size, 1) + 1) if batch_size % n == 0)
        raise UsageError(f"A global batch of {batch_size} cannot be cut into {world} equal parts. "
                         f"Take a world size of {valid}, or another batch size.")
    share = batch_size // world
    return slice(rank * share, (rank + 1) * share)


def worker_slices(count: int, workers: int) -> list[slice]:
    """Which of `count` places each worker fills: every place once, at most `workers` parts. 0 workers are one."""
    share = -(-count // max(workers, 1))
    return [slice(start, min(start + share, count)) for start in range(0, count, max(share, 1))]


def replacement(samples: int, seed: int, position: int, attempt: int) -> int:
    """The sample that stands in where the one at `position` cannot be read; `attempt` counts from 0."""
    return Draws(REPLACE, seed, position, attempt).integer(samples)
