"""Bytes from a web server: ranges only, many at once, and what happens when the store misbehaves."""

from __future__ import annotations

import pickle
import re
import time

import pytest
from stores import serving

from vitrail.data.sources.shards import store
from vitrail.data.sources.shards.store import ATTEMPTS, Store
from vitrail.errors import DataError, UsageError

FILE = "train-000000.tar"


def test_a_near_and_a_far_store_say_the_same(packed, web):
    near, far = Store(str(packed)), Store(web.url)
    assert (near.far, far.far) == (False, True)
    content = (packed / FILE).read_bytes()
    for start, size in ((0, 1), (512, 700), (len(content) - 3, 3)):
        assert near.read(FILE, start, size) == far.read(FILE, start, size) == content[start:start + size]
    assert near.sizes([FILE, "none.tar"]) == far.sizes([FILE, "none.tar"]) == {FILE: len(content), "none.tar": -1}
    assert near.whole("index.json") == far.whole("index.json") == (packed / "index.json").read_bytes()
    assert near.whole("none.json") is far.whole("none.json") is None
    assert pickle.loads(pickle.dumps(far)).read(FILE, 0, 9) == content[:9]


def test_only_the_range_is_sent(packed, web):
    Store(web.url).read(FILE, 512, 100)
    assert web.requests == [(f"/{FILE}", "bytes=512-611")]
    assert web.sent == 100


def test_a_large_file_comes_in_pieces(packed, web, monkeypatch):
    monkeypatch.setattr(store, "PIECE", 1000)
    content = (packed / FILE).read_bytes()
    assert Store(web.url).whole(FILE) == content
    assert len(web.requests) == 1 + -(-len(content) // 1000)
    monkeypatch.setattr(store, "MOST_WHOLE", 999)
    with pytest.raises(DataError, match="an index has at most 999"):
        Store(str(packed)).whole(FILE)


def test_many_requests_are_under_way_at_once(packed, web):
    web.habit, web.delay = "slow", 0.2
    begun = time.perf_counter()
    pending = [Store(web.url).begin(FILE, start, 10) for start in range(20)]
    content = (packed / FILE).read_bytes()
    assert [future.result() for future in pending] == [content[start:start + 10] for start in range(20)]
    assert web.most_open > 5
    assert time.perf_counter() - begun < 20 * 0.2


def test_a_server_that_fails_every_third_time_is_asked_again(packed, web):
    web.habit = "fails"
    content = (packed / FILE).read_bytes()
    assert [Store(web.url).read(FILE, start, 10) for start in range(10)] == [
        content[start:start + 10] for start in range(10)]
    assert len(web.requests) > 10


@pytest.mark.parametrize(("habit", "reason"), [("dead", "503"), ("short", "99 bytes came where 100 were asked for")])
def test_a_store_that_stays_bad_ends_in_an_error_that_names_the_shard(web, habit, reason):
    web.habit = habit
    place = re.escape(f"{web.url}{FILE}")
    with pytest.raises(DataError, match=f"{place} cannot be read, after {ATTEMPTS} attempts.*{reason}"):
        Store(web.url).read(FILE, 0, 100)
    assert len(web.requests) == ATTEMPTS


def test_a_store_that_does_not_answer_in_time(web, monkeypatch):
    monkeypatch.setattr(store, "DEADLINE", 0.05)
    web.habit, web.delay = "slow", 0.3
    with pytest.raises(DataError, match=r"no answer within 0\.05 s.*--resume"):
        Store(web.url).read(FILE, 0, 100)
    web.habit = ""
    assert len(Store(web.url).read(FILE, 0, 100)) == 100


def test_a_store_that_is_not_there(tmp_path, monkeypatch):
    pytest.importorskip("aiohttp")
    monkeypatch.setattr(store, "PAUSE", 0.001)
    with serving(tmp_path) as gone:
        place = gone.url
    with pytest.raises(DataError, match=r"after 6 attempts.*onnect"):
        Store(place).sizes(["a.tar"])


def test_a_server_that_ignores_ranges_is_refused_before_it_sends_a_shard(web, tmp_path):
    (tmp_path / "packed" / "large.tar").write_bytes(bytes(50_000_000))
    web.habit = "ignores ranges"
    with pytest.raises(DataError, match=r"large\.tar.*ignores ranges.*copy them to this machine"):
        Store(web.url).read("large.tar", 5, 10)
    assert len(web.requests) == 1  # asking again would not help


def test_a_server_without_sizes_is_refused(web):
    web.habit = "silent"
    with pytest.raises(DataError, match="does not say how large"):
        Store(web.url).sizes([FILE])


def test_a_store_that_is_closed_to_us_says_so_at_once(web):
    web.habit = "closed"
    for ask in (lambda: Store(web.url).sizes([FILE]), lambda: Store(web.url).read(FILE, 0, 1)):
        with pytest.raises(DataError, match=r"answers 403.*credentials"):
            ask()
    assert len(web.requests) == 2


@pytest.mark.parametrize("habit", ["fails", "dead", "ignores ranges"])
def test_a_server_that_fails_is_no_missing_file(web, packed, habit):
    web.habit = habit
    sizes = {file.name: file.stat().st_size for file in packed.glob("*.tar")}
    if habit == "fails":
        assert Store(web.url).sizes(list(sizes)) == sizes
    else:
        with pytest.raises(DataError, match="503" if habit == "dead" else "ignores ranges"):
            Store(web.url).sizes(list(sizes))


def test_what_is_missing_is_not_asked_for_again(web):
    with pytest.raises(DataError, match=r"none\.tar cannot be read: it is missing"):
        Store(web.url).read("none.tar", 0, 10)
    assert len(web.requests) == 1


def test_a_kind_of_store_without_its_library_says_what_to_install(monkeypatch):
    with pytest.raises(UsageError, match="nosuch"):
        Store("nosuch://bucket/").sizes(["a.tar"])
    monkeypatch.setitem(__import__("sys").modules, "fsspec.asyn", None)
    store.connect.cache_clear()
    with pytest.raises(UsageError, match=r"pip install 'vitrail\[shards\]'"):
        Store("https://host/").sizes(["a.tar"])
    store.connect.cache_clear()
