"""Batches that are filled by threads ahead of their use, in order."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from threading import Event
from typing import TypeVar

import numpy as np

from vitrail.data.order import worker_slices

PREFETCH = 3
"""Batches in work or ready, ahead of the one that is being used."""

Made = TypeVar("Made")
Place = TypeVar("Place")

Rows = dict[str, np.ndarray]
"""The arrays of a batch by their names, or a part of each: one row for each picture."""


def prefetched(
    work: Iterator[tuple[Rows, list[Place]]],
    fill: Callable[[Rows, Sequence[Place], Event], Made],
    workers: int,
) -> Generator[tuple[Rows, list[Place], list[Made]], None, None]:
    """Fill the arrays of each batch of `work` in threads, every worker an equal part of it, and yield them in order.

    At most `PREFETCH` are under way. An exception in a worker comes out at its place in the order. However the
    iterator is left (closed, collected, Ctrl-C, an error), the threads stop after the picture they are at.
    `workers` 0 fills in the calling thread, when asked.
    """
    stop = Event()
    if workers == 0:
        for rows, places in work:
            yield rows, places, [fill(rows, places, stop)]
        return
    pool = ThreadPoolExecutor(workers, thread_name_prefix="vitrail-loader")
    pending: deque[tuple[Rows, list[Place], list[Future[Made]]]] = deque()
    try:
        for rows, places in work:
            futures = [pool.submit(fill, {name: array[share] for name, array in rows.items()}, places[share], stop)
                       for share in worker_slices(len(places), workers)]
            pending.append((rows, places, futures))
            if len(pending) >= PREFETCH:
                yield collected(pending)
        while pending:
            yield collected(pending)
    finally:
        stop.set()
        pool.shutdown(wait=True, cancel_futures=True)


def collected(
    pending: deque[tuple[Rows, list[Place], list[Future[Made]]]]
) -> tuple[Rows, list[Place], list[Made]]:
    rows, places, futures = pending.popleft()
    return rows, places, [future.result() for future in futures]
