"""Split + view -> batches, in an order that is a pure function of the position.

    Loader(split, view, batch_size, seed=0).batches(start) -> Batch, Batch, ...    training: endless, resumable
    in_order(split, preprocess, batch_size)                -> one pass              evaluation: nothing substituted

Workers are threads. Decoding and resizing release the interpreter, so they run side by side; and there is no shared
memory to run out of, no start-up of a second interpreter, and no process that the kernel may kill and leave waiting.
"""

from __future__ import annotations

import os
from collections.abc import Generator, Iterator, Sequence
from contextlib import closing
from functools import partial
from threading import Event
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from vitrail.data.ahead import Ahead
from vitrail.data.order import Key, rank_slice, replacement, stream_indices
from vitrail.data.prefetch import Rows, prefetched
from vitrail.data.preprocess import Preprocess
from vitrail.data.source import Split
from vitrail.data.views import EvalView, View
from vitrail.errors import DataError, ImageError, RunError, UsageError
from vitrail.vocabulary import Batch, RawImages

ATTEMPTS = 64
"""Replacements tried for one position. With half of the pictures bad, 64 misses in a row do not happen."""

SMALL = 64 * 64 * 3
"""Numbers in a picture that is cheaper to view than to hand to another thread."""


class Wanted(NamedTuple):
    """One place of a batch: which sample, in which epoch, at which position of the stream."""

    sample: int
    epoch: int
    position: int


class Found(NamedTuple):
    """What became of some of the places: the samples taken, and those that could not be read, in order."""

    indices: list[int]
    errors: list[ImageError]


class Loader:
    """Endless training batches. `batch_size` is that of the whole world; this rank gets its equal part of each.

    A picture that cannot be read is replaced by one drawn from (seed, position), so the stream stays the same for any
    number of workers and after any resume. `bad` maps the name of each to the reason, in the order of the stream.
    More of them than `max_bad` of the split raise DataError; one is allowed in a small split too, unless `max_bad`
    is 0 or it is the only picture.
    """

    def __init__(
        self,
        split: Split,
        view: View,
        batch_size: int,
        *,
        seed: int,
        workers: int | None = None,
        max_bad: float = 0.001,
        world: int = 1,
        rank: int = 0,
    ) -> None:
        if len(split) == 0:
            raise DataError("There is nothing to train on: the split is empty.")
        if not 0 <= max_bad <= 1:
            raise UsageError(f"max_bad {max_bad} is not a fraction: it must be from 0 to 1.")
        self.split, self.view, self.seed = split, view, seed
        self.batch_size = checked("batch_size", batch_size, 1)
        self.workers = default_workers(split) if workers is None else checked("workers", workers, 0)
        self.max_bad, self.part = max_bad, rank_slice(batch_size, world, rank)
        self.bad: dict[str, str] = {}

    @property
    def allowed(self) -> int:
        """How many pictures may be bad: never all of them."""
        share = max(1, int(self.max_bad * len(self.split))) if self.max_bad else 0
        return min(share, len(self.split) - 1)

    def batches(self, start_position: int = 0) -> Generator[Batch, None, None]:
        """Batches from a position of the stream on: the position after a batch is its last one plus 1 (of the world).

        Leaving the iterator stops its threads. Raises DataError where too many pictures are bad.
        """
        ahead = Ahead(self.split, self.part.stop - self.part.start)
        parts = ahead.announced(self.parts(start_position), lambda places: [place.sample for place in places])
        shapes = self.view.shapes
        work = ((empty_batch(shapes, len(places)), places) for places in parts)
        with closing(prefetched(work, partial(self.fill, ahead.split), self.workers)) as filled, closing(ahead):
            for raw, places, found in filled:
                for error in (error for part in found for error in part.errors):
                    self.bad.setdefault(error.path, error.reason)
                indices = np.array([index for part in found for index in part.indices])
                if len(self.bad) > self.allowed or indices.min() < 0:
                    raise self.too_many_bad()
                yield Batch(
                    views={name: torch.from_numpy(array) for name, array in raw.items()},
                    targets=torch.from_numpy(self.split.labels[indices]),
                    indices=torch.from_numpy(indices),
                    positions=torch.tensor([place.position for place in places]),
                )

    def parts(self, start: int) -> Iterator[list[Wanted]]:
        """What this rank takes of each batch, from a position of the stream on."""
        while True:
            indices, epochs = stream_indices(len(self.split), self.seed, start, self.batch_size)
            positions = np.arange(start, start + self.batch_size)
            yield list(map(Wanted, *(column[self.part].tolist() for column in (indices, epochs, positions))))
            start += self.batch_size

    def fill(self, split: Split, rows: Rows, places: Sequence[Wanted], stop: Event) -> Found:
        """Write the pictures at `places` into `rows`. An index of -1 says that no replacement could be read."""
        indices: list[int] = []
        errors: list[ImageError] = []
        for row, place in enumerate(places):
            index, attempt = place.sample, 0
            while index >= 0 and not stop.is_set():
                try:
                    key = Key(self.seed, place.epoch, index)
                    for look, pixels in self.view.looks(split.read(index), split.names[index], key).items():
                        rows[look][row] = pixels.numpy()
                    break
                except ImageError as error:
                    errors.append(error)
                except MemoryError:
                    raise too_little_memory(split.names[index]) from None
                index = replacement(len(split), self.seed, place.position, attempt) if attempt < ATTEMPTS else -1
                attempt += 1
            indices.append(index)
        return Found(indices, errors)

    def too_many_bad(self) -> DataError:
        some = "; ".join(f"{name}: {reason}" for name, reason in list(self.bad.items())[:3])
        return DataError(
            f"At least {len(self.bad)} of {len(self.split)} pictures cannot be read; {self.allowed} may be bad "
            f"(max_bad {self.max_bad:g}). Some of them: {some}. Repair or remove them, or raise max_bad: "
            "--set data.max_bad=0.1 goes on where up to a tenth is bad.")


class Passed(NamedTuple):
    """One batch of a pass in order: the pictures that could be read, which they are, and the errors of the others."""

    raw: RawImages
    indices: Tensor
    errors: list[ImageError]


class Looked(NamedTuple):
    """The same with the looks of any view, by name."""

    views: dict[str, Tensor]
    indices: Tensor
    errors: list[ImageError]


def in_order(split: Split, preprocess: Preprocess, batch_size: int, workers: int | None = None,
             samples: Sequence[int] | None = None) -> Iterator[Passed]:
    """Every picture once in the order of the split, or `samples` in theirs. Bad ones are reported and never replaced,
    so a batch may be smaller than `batch_size`, or empty."""
    for views, indices, errors in looked_through(split, EvalView(preprocess), batch_size, workers, samples=samples):
        yield Passed(views["image"], indices, errors)


def looked_through(split: Split, view: View, batch_size: int, workers: int | None = None, *, seed: int = 0,
                   samples: Sequence[int] | None = None) -> Iterator[Looked]:
    """The same through any view, of some `samples` of the split or all. What the view draws hangs on the seed and the
    sample alone, so that every pass sees the same."""
    checked("batch_size", batch_size, 1)
    workers = default_workers(split) if workers is None else checked("workers", workers, 0)

    ahead, shapes = Ahead(split, batch_size), view.shapes
    wanted: Sequence[int] = range(len(split)) if samples is None else samples
    parts = (list(wanted[start : start + batch_size]) for start in range(0, len(wanted), batch_size))
    work = ((empty_batch(shapes, len(places)), places) for places in ahead.announced(parts, list))

    def fill(rows: Rows, places: Sequence[int], stop: Event) -> Found:
        found = Found([], [])
        for row, index in enumerate(places):
            if stop.is_set():
                break
            try:
                looks = view.looks(ahead.split.read(index), split.names[index], Key(seed, 0, index))
                for look, pixels in looks.items():
                    rows[look][row] = pixels.numpy()
                found.indices.append(index)
            except ImageError as error:
                found.errors.append(error)
            except MemoryError:
                raise too_little_memory(split.names[index]) from None
        return found

    with closing(prefetched(work, fill, workers)) as filled, closing(ahead):
        for raw, places, found in filled:
            indices = np.array([index for part in found for index in part.indices], dtype=np.int64)
            if len(indices) < len(places):
                read = np.isin(places, indices)
                raw = {name: array[read] for name, array in raw.items()}
            errors = [error for part in found for error in part.errors]
            yield Looked({name: torch.from_numpy(array) for name, array in raw.items()}, torch.from_numpy(indices),
                         errors)


def too_little_memory(name: str) -> RunError:
    return RunError(f"{name}: there was not enough memory to read this picture. Use fewer decoding threads (--set "
                    "data.workers=1) or smaller pictures; a run goes on from its last checkpoint with --resume.")


def default_workers(split: Split) -> int:
    """One for each core that this process may use, up to eight; but one where small pictures are in memory already.

    Then there is nothing to decode, and threads only pass the interpreter to and fro: 28 x 28 arrays with pad-and-crop
    and flip take 18 us a picture in one thread and 30 us in two (2026-11).
    """
    try:
        first = split.read(0) if len(split) else None
    except ImageError:
        first = None
    if isinstance(first, np.ndarray) and first.size <= SMALL:
        return 1
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return min(cores, 8)


def checked(name: str, given: int, least: int) -> int:
    if given < least:
        raise UsageError(f"{name} {given} is not possible: it must be at least {least}.")
    return given


def empty_batch(shapes: dict[str, tuple[int, ...]], count: int) -> Rows:
    return {name: np.empty((count, *shape), np.uint8) for name, shape in shapes.items()}
