"""What is announced is fetched before it is read, once, within bounds, and given up when nobody wants it."""

from __future__ import annotations

import time
from concurrent.futures import Future
from dataclasses import dataclass, field, replace

import pytest
from hostile import noise, saved, split_of

from vitrail.data.ahead import Ahead
from vitrail.data.loader import Loader, in_order
from vitrail.data.preprocess import Preprocess
from vitrail.data.remembered import remember
from vitrail.data.views import EvalView


@dataclass
class Far:
    """A far reader that notes what is begun and read directly; it hands out `items` at once."""

    items: list[bytes]
    begun: list[int] = field(default_factory=list)
    direct: list[int] = field(default_factory=list)
    futures: list[Future] = field(default_factory=list)
    far: bool = True
    mean_bytes: float = 1000.0
    answers: int = 1000

    def read(self, key):
        self.direct.append(key)
        return self.items[key]

    def begin(self, keys):
        for key in keys:
            self.begun.append(key)
            future: Future = Future()
            self.futures.append(future)
            if len(self.begun) <= self.answers:
                future.set_result(self.items[key])
            yield key, future

    def finish(self, key, encoded):
        return encoded


def far_split(count=20, **settings):
    items = [saved(noise(8, 8, seed), "PNG") for seed in range(count)]
    return replace(split_of(items), reader=Far(items, **settings))


def test_what_is_announced_is_not_read_again():
    split = far_split()
    ahead = Ahead(split, 4)
    work = ahead.announced(iter([[0, 1], [1, 2], [3]]), list)
    assert [[ahead.split.read(place) for place in places] for places in work] == [
        [split.reader.items[place] for place in places] for places in ([0, 1], [1, 2], [3])]
    assert split.reader.begun == [0, 1, 1, 2, 3]
    assert split.reader.direct == []
    assert ahead.split.read(5) == split.reader.items[5]  # a replacement, which nobody could announce
    assert split.reader.direct == [5]


@pytest.mark.parametrize(("mean_bytes", "batch", "depth"), [
    (1000, 8, 16), (2**20, 16, 4), (2**20, 64, 1), (2**26, 64, 1), (0, 1, 16)])
def test_how_far_ahead_is_bounded_by_bytes(mean_bytes, batch, depth):
    split = far_split(mean_bytes=mean_bytes)
    work = Ahead(split, batch).announced(([0] for _ in iter(int, 1)), list)
    next(work)
    assert len(split.reader.begun) == depth + 1


def test_a_near_split_stays_as_it_is():
    split = split_of([b"x"])
    ahead = Ahead(split, 4)
    assert ahead.split is split
    assert list(ahead.announced(iter([[0]]), list)) == [[0]]
    ahead.close()


def test_leaving_gives_up_what_is_on_its_way():
    split = far_split(answers=0)
    ahead = Ahead(split, 4)
    next(ahead.announced(([place] for place in range(20)), list))
    ahead.close()
    assert split.reader.futures
    assert all(future.cancelled() for future in split.reader.futures)


@pytest.mark.parametrize("workers", [1, 3])
def test_a_loader_that_is_left_does_not_wait_for_the_store(workers):
    split = far_split(answers=8)
    stream = Loader(split, EvalView(Preprocess(size=8)), 4, seed=0, workers=workers).batches()
    next(stream)
    next(stream)
    start = time.perf_counter()
    stream.close()  # its threads wait for pictures that never come
    assert time.perf_counter() - start < 5


@pytest.mark.parametrize("workers", [0, 2])
def test_a_loader_and_a_pass_announce_all_that_they_read(workers):
    split, view = far_split(), EvalView(Preprocess(size=8))
    stream = Loader(split, view, 4, seed=0, workers=workers).batches()
    taken = [index for _ in range(6) for index in next(stream).indices.tolist()]
    stream.close()
    assert split.reader.begun[:24] == taken
    split.reader.direct.clear()
    assert sum(len(passed.indices) for passed in in_order(split, view.preprocess, 3, workers)) == 20
    assert split.reader.direct == []


def test_ranks_announce_their_own_part_only():
    split, view = far_split(), EvalView(Preprocess(size=8))
    stream = Loader(split, view, 4, seed=0, workers=0, world=2, rank=1).batches()
    whole = [index for _ in range(3) for index in next(stream).indices.tolist()]
    stream.close()
    assert split.reader.begun[:6] == whole


def test_what_is_remembered_is_not_fetched_again():
    split = far_split()
    near = remember(split, Preprocess(size=8))
    assert near.reader.far
    view = EvalView(Preprocess(size=8))
    for _ in range(3):
        for passed in in_order(near, view.preprocess, 4, 0):
            assert not passed.errors
    assert sorted(split.reader.begun) == list(range(20))


