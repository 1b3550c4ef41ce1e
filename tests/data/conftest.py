"""Packed shards, small enough to look at byte by byte."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hostile import noise, saved
from stores import Web, serving

from vitrail.data import ahead
from vitrail.data.pack import pack
from vitrail.data.source import Source, open_source
from vitrail.data.sources.shards import store


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """Thirty pictures of two classes, without splits."""
    for number in range(30):
        path = tmp_path / "photos" / ("cat", "dog")[number % 2] / f"{number}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(saved(noise(20, 24, number), "JPEG"))
    return tmp_path / "photos"


@pytest.fixture
def packed(photos: Path, tmp_path: Path) -> Path:
    """The same in several shards."""
    pack(open_source(str(photos)), tmp_path / "packed", shard_bytes=12_000)
    return tmp_path / "packed"


@pytest.fixture
def web(packed: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Web]:
    """The packed shards behind a web server; patience is short."""
    pytest.importorskip("fsspec", reason="shards on other machines need vitrail[shards]")
    pytest.importorskip("aiohttp", reason="shards on other machines need vitrail[shards]")
    monkeypatch.setattr(store, "PAUSE", 0.001)
    monkeypatch.setattr(store, "DEADLINE", 5.0)
    monkeypatch.setattr(ahead, "AHEAD_BATCHES", 3)
    with serving(packed) as server:
        yield server


Contents = dict[str, list[tuple[str, str, bytes]]]


@pytest.fixture
def contents() -> Callable[[Source], Contents]:
    """(name, class, bytes) of every picture by split; names without their shard."""
    def read(source: Source) -> Contents:
        return {split: sorted((name.rpartition(":")[2], source.classes[label], bytes(part.read(row)))
                              for row, (name, label) in enumerate(zip(part.names, part.labels, strict=True)))
                for split, part in source.splits.items()}
    return read
