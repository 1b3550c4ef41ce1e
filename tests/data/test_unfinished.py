"""A pack that is stopped or killed at any moment goes on, and ends in the bytes of one that never was."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from test_pack import source_of

import vitrail.data.pack as packing
import vitrail.data.unfinished as under_way
from vitrail.data.pack import TarWriter, pack
from vitrail.data.source import Source
from vitrail.errors import DataError, SaveError, UsageError

COUNT, SHARD_BYTES = 60, 12_000  # about 5 pictures a shard


def pictures(changed: int | None = None) -> Source:
    """Three splits; one picture of each hundred or so cannot be read."""
    random = np.random.default_rng(0)
    files: list = [random.bytes(int(random.integers(500, 2500))) for _ in range(COUNT)]
    files[11] = None
    if changed is not None:
        files[changed] = b"another one"
    parts = {"train": slice(0, 40), "val": slice(40, 50), "test": slice(50, COUNT)}
    source = source_of(files, np.arange(COUNT) % 2, parts=parts)
    return source if changed is None else Source(**{**vars(source), "fingerprint": "1" * 64})


def content(folder: Path) -> dict[str, bytes]:
    return {file.name: file.read_bytes() for file in folder.iterdir()}


@pytest.fixture
def undisturbed(tmp_path: Path) -> dict[str, bytes]:
    index = pack(pictures(), tmp_path / "whole" / "out", shard_bytes=SHARD_BYTES)
    assert len(index.shards) > 10
    assert index.left_out == [("p11", "it is gone")]
    return content(tmp_path / "whole" / "out")


def killed(prepare: Callable[[], None], out: Path, resume: bool) -> bool:
    """Pack in a child that `prepare` gives a moment to die at; True where it died."""
    child = os.fork()
    if child == 0:
        try:
            prepare()
            pack(pictures(), out, shard_bytes=SHARD_BYTES, resume=resume)
            os._exit(0)
        finally:
            os._exit(1)
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    assert code in (0, 9)
    return code == 9


def dies_at(owner: object, name: str, count: int) -> Callable[[], None]:
    """At the `count`-th call."""
    def prepare() -> None:
        whole, calls = getattr(owner, name), iter(range(count - 1))

        def once(*arguments: object) -> object:
            if next(calls, None) is None:
                os._exit(9)
            return whole(*arguments)

        setattr(owner, name, once)

    return prepare


@pytest.mark.fault("D7", "A pack that is killed leaves nothing that looks complete, and goes on to the same bytes.")
@pytest.mark.parametrize(("owner", "name", "counts"), [
    (TarWriter, "write", (1, 17, 40, 101, 180)), (TarWriter, "close", (1, 5)),
    (under_way, "append_line", (1, 6)), (under_way, "write_manifest", (1,)), (under_way, "replace_folder", (1,)),
])
def test_killed_at_any_moment_it_ends_in_the_same_bytes(tmp_path, undisturbed, owner, name, counts):
    for count in counts:
        out = tmp_path / f"{name}-{count}" / "out"
        assert killed(dies_at(owner, name, count), out, resume=False)
        assert [path.name for path in out.parent.iterdir()] == [".packing-out"]
        resume = (out.parent / ".packing-out" / "progress.jsonl").exists()
        pack(pictures(), out, shard_bytes=SHARD_BYTES, resume=resume)
        assert content(out) == undisturbed
        assert [path.name for path in out.parent.iterdir()] == ["out"]


def test_killed_again_and_again(tmp_path, undisturbed):
    out, deaths = tmp_path / "again" / "out", 0
    while killed(dies_at(TarWriter, "write", 70), out, resume=deaths > 0):
        deaths += 1
        assert deaths < 20
    assert deaths > 3
    assert content(out) == undisturbed


def test_killed_while_it_takes_up_its_work(tmp_path, undisturbed):
    out = tmp_path / "out"
    assert killed(dies_at(TarWriter, "write", 180), out, resume=False)
    for name in ("replace", "fsync"):  # while what is finished is written down again
        assert killed(dies_at(os, name, 1), out, resume=True)
    pack(pictures(), out, shard_bytes=SHARD_BYTES, resume=True)
    assert content(out) == undisturbed


def test_what_is_finished_is_not_packed_again(tmp_path, monkeypatch):
    assert killed(dies_at(TarWriter, "write", 180), tmp_path / "out", resume=False)
    seen, told = [], []
    whole = packing.prepare
    monkeypatch.setattr(packing, "prepare", lambda split, row, *more: seen.append(row) or whole(split, row, *more))
    pack(pictures(), tmp_path / "out", shard_bytes=SHARD_BYTES, resume=True, watch=told.append)
    assert 0 < len(seen) < COUNT - 20
    assert told[-1].done == told[-1].total == COUNT


def stopped(out: Path, monkeypatch: pytest.MonkeyPatch, error: BaseException, after: int = 30) -> None:
    """A pack that `error` ends after some pictures."""
    whole, calls = TarWriter.add, iter(range(after))

    def add(*arguments: object) -> int:
        if next(calls, None) is None:
            raise error
        return whole(*arguments)

    with monkeypatch.context() as patched:
        patched.setattr(TarWriter, "add", add)
        pack(pictures(), out, shard_bytes=SHARD_BYTES)


def test_a_stopped_pack_is_mentioned_and_never_lost(tmp_path, monkeypatch, undisturbed):
    out = tmp_path / "out"
    with pytest.raises(KeyboardInterrupt):
        stopped(out, monkeypatch, KeyboardInterrupt())
    with pytest.raises(UsageError, match=r"was stopped after \d+ images. Go on with it by --resume, or remove"):
        pack(pictures(), out, shard_bytes=SHARD_BYTES)
    pack(pictures(), out, shard_bytes=SHARD_BYTES, resume=True)
    assert content(out) == undisturbed


def test_on_a_full_disk_finished_shards_stay(tmp_path, monkeypatch, undisturbed):
    out = tmp_path / "out"
    with pytest.raises(SaveError, match=r"No space left.*Of this pack, \d+ shards are kept: --resume goes on"):
        stopped(out, monkeypatch, OSError(errno.ENOSPC, "No space left on device"))
    pack(pictures(), out, shard_bytes=SHARD_BYTES, resume=True)
    assert content(out) == undisturbed


def test_a_fault_of_the_data_leaves_nothing(tmp_path, monkeypatch):
    with pytest.raises(DataError):
        stopped(tmp_path / "out", monkeypatch, DataError("too many"))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(("changed", "options", "words"), [
    (3, {}, "the pictures, labels or splits of the source have changed"),
    (None, {"image_size": 20}, "image size was None, and is 20"), (None, {"quality": 80}, "quality was 90, and is 80"),
    (None, {"shard_bytes": 13_000}, "shard bytes was 12000, and is 13000"),
])
def test_another_source_or_other_options_are_refused(tmp_path, monkeypatch, changed, options, words):
    with pytest.raises(KeyboardInterrupt):
        stopped(tmp_path / "out", monkeypatch, KeyboardInterrupt())
    before = content(tmp_path / ".packing-out" / "shards")
    with pytest.raises(UsageError, match=words):
        pack(pictures(changed), tmp_path / "out", **{"shard_bytes": SHARD_BYTES, **options}, resume=True)
    assert content(tmp_path / ".packing-out" / "shards") == before


@pytest.mark.parametrize("damage", ["flip", "cut", "lose", "line"])
def test_a_damaged_shard_is_packed_again(tmp_path, monkeypatch, undisturbed, damage):
    out, place = tmp_path / "out", tmp_path / ".packing-out"
    with pytest.raises(KeyboardInterrupt):
        stopped(out, monkeypatch, KeyboardInterrupt())
    shard, lines = place / "shards" / "train-000001.tar", place / "progress.jsonl"
    held = shard.read_bytes()
    if damage == "flip":
        shard.write_bytes(held[:700] + bytes([held[700] ^ 1]) + held[701:])
    elif damage == "cut":
        shard.write_bytes(held[:-512])
    elif damage == "lose":
        shard.unlink()
    else:
        lines.write_text(lines.read_text()[:-40])
    pack(pictures(), out, shard_bytes=SHARD_BYTES, resume=True)
    assert content(out) == undisturbed


def test_nothing_to_go_on_with_is_said(tmp_path, monkeypatch):
    with pytest.raises(UsageError, match=r"No pack into .* is under way. Leave out --resume"):
        pack(pictures(), tmp_path / "out", resume=True)
    with pytest.raises(KeyboardInterrupt):
        stopped(tmp_path / "out", monkeypatch, KeyboardInterrupt())
    (tmp_path / ".packing-out" / "progress.jsonl").write_text("{}")
    for resume in (True, False):
        with pytest.raises(UsageError, match=r"is damaged, so that pack cannot go on. Remove .*\.packing-out to begin"):
            pack(pictures(), tmp_path / "out", resume=resume)


def test_two_processes_do_not_pack_into_one_folder(tmp_path):
    with under_way.unfinished(tmp_path / "out", under_way.Orders(version="", source="", image_size=None, quality=1,
                                                                 shard_bytes=1), resume=False), \
            pytest.raises(UsageError, match="Another process is packing into"):
        pack(pictures(), tmp_path / "out")
