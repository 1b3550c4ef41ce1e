"""Pictures from far away are fetched before they are asked for: which come next is known, for the order is pure.

    ahead = Ahead(split, batch_size)
    for places in ahead.announced(all_places, samples): ...    what lies ahead of `places` is on its way when they come
        ahead.split.read(place)                                waits for what was announced, or fetches it
"""

from __future__ import annotations

from collections import defaultdict, deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from threading import Lock
from typing import Any, Protocol, TypeVar, cast

import numpy as np

from vitrail.data.source import Split

AHEAD_BYTES = 64 * 2**20
AHEAD_BATCHES = 16
"""What is fetched and waits to be decoded at most, whichever is less; one batch at least."""

Places = TypeVar("Places", bound=Sequence[Any])


class Coming(Protocol):
    """Bytes that are being fetched."""

    def result(self) -> bytes: ...

    def cancel(self) -> None: ...


class FarReader(Protocol):
    """A reader whose pictures come from far away. `read(key)` is `finish` of what `begin` has fetched."""

    @property
    def far(self) -> bool: ...

    @property
    def mean_bytes(self) -> float: ...

    def read(self, key: int) -> bytes | np.ndarray: ...

    def begin(self, keys: Sequence[int]) -> Iterable[tuple[int, Coming]]: ...

    def finish(self, key: int, encoded: bytes) -> bytes | np.ndarray: ...


class Ahead:
    """`split` reads what was announced, each announcement once. A split that is near stays as it is."""

    def __init__(self, split: Split, batch_size: int) -> None:
        self.keys, self.lock = split.keys, Lock()
        self.coming: defaultdict[int, deque[Coming]] = defaultdict(deque)
        far = getattr(split.reader, "far", False)
        self.reader = cast(FarReader, split.reader) if far else None
        self.split = replace(split, reader=self) if far else split
        fitting = AHEAD_BYTES / (max(self.reader.mean_bytes, 1) * batch_size) if self.reader else 0
        self.depth = max(1, min(AHEAD_BATCHES, int(fitting)))

    def announced(self, work: Iterator[Places], samples: Callable[[Places], list[int]]) -> Iterator[Places]:
        """The same work; the `samples` of each part of it are announced `depth` parts before it comes."""
        if self.reader is None:
            yield from work
            return
        waiting: deque[Places] = deque()
        for places in work:
            for key, coming in self.reader.begin(self.keys[samples(places)].tolist()):
                with self.lock:
                    self.coming[key].append(coming)
            waiting.append(places)
            if len(waiting) > self.depth:
                yield waiting.popleft()
        yield from waiting

    def read(self, key: int) -> bytes | np.ndarray:
        assert self.reader is not None
        with self.lock:
            announced = self.coming.get(key)
            coming = announced[0] if announced else None
        if coming is None:
            return self.reader.read(key)
        encoded = coming.result()  # still in the list, so that `close` ends the waiting
        with self.lock:
            if announced:
                announced.popleft()
            if not announced:
                self.coming.pop(key, None)
        return self.reader.finish(key, encoded)

    def close(self) -> None:
        """Give up what is on its way."""
        with self.lock:
            for announced in self.coming.values():
                for coming in announced:
                    coming.cancel()
            self.coming.clear()
