"""Ranges: neighbors join, and every picture is cut out of the right place."""

from __future__ import annotations

from concurrent.futures import Future

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from vitrail.data.sources.shards.index import content_hash
from vitrail.data.sources.shards.reader import GAP, MOST, ShardReader

FILES = {f"{number}.tar": np.random.default_rng(number).bytes(200_000) for number in range(3)}


class Counted:
    """A far store in memory that notes what it is asked for."""

    far, place = True, "memory://"

    def __init__(self):
        self.asked = []

    def begin(self, file, start, size):
        self.asked.append((file, start, size))
        future: Future = Future()
        future.set_result(FILES[file][start:start + size])
        return future

    def read(self, file, start, size):
        return FILES[file][start:start + size]

    def address(self, file):
        return file


def reader_of(rows):
    table = np.array(rows, np.int64).reshape(-1, 3)
    names, files = [f"p{row}" for row in range(len(table))], tuple(FILES)
    hashes = [content_hash(FILES[files[shard]][start:start + size]) for shard, start, size in table.tolist()]
    return ShardReader(Counted(), files, names, table, hashes)


ROWS = st.lists(st.tuples(st.integers(0, 2), st.integers(0, 190_000), st.integers(1, 9000)), min_size=1, max_size=30)


@settings(max_examples=60, deadline=None)
@given(ROWS, st.randoms(use_true_random=False))
def test_any_keys_in_any_order_give_their_bytes(rows, random):
    reader = reader_of(rows)
    keys = [random.randrange(len(rows)) for _ in range(40)]
    came = [(key, reader.finish(key, piece.result())) for key, piece in reader.begin(keys)]
    assert sorted(key for key, _ in came) == sorted(keys)
    assert all(content == reader.read(key) for key, content in came)
    asked = [size for _, _, size in reader.store.asked]
    assert len(asked) <= len(keys)
    assert max(asked) <= MOST + 9000


def test_neighbors_join_across_small_gaps_only():
    reader = reader_of([(0, 0, 1000), (0, 1536, 1000), (0, 2536 + GAP + 1, 10), (1, 0, 10)])
    list(reader.begin([3, 1, 0, 2]))
    assert reader.store.asked == [("0.tar", 0, 2536), ("0.tar", 2537 + GAP, 10), ("1.tar", 0, 10)]


def test_no_more_than_some_megabytes_at_once(monkeypatch):
    monkeypatch.setattr("vitrail.data.sources.shards.reader.MOST", 3000)
    reader = reader_of([(0, start, 1000) for start in range(0, 10_000, 1000)])
    list(reader.begin(range(10)))
    assert [size for _, _, size in reader.store.asked] == [3000, 3000, 3000, 1000]
    assert reader.mean_bytes == 1000
