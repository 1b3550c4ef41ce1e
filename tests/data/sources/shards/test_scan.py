"""Shards of others: which members make a sample, and everything that a tar may hold besides."""

from __future__ import annotations

import io
import os
import pickle
import tarfile

import pytest

from vitrail.data.sources.shards import scan as module
from vitrail.data.sources.shards.scan import scan, scanned_index


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("VITRAIL_HOME", str(tmp_path / "home"))
    return tmp_path / "home" / "shards"


def write(path, *members, kind=tarfile.REGTYPE):
    with tarfile.open(path, "w") as opened:
        for name, content in members:
            info = tarfile.TarInfo(name)
            info.size, info.type = len(content), kind
            if kind in (tarfile.SYMTYPE, tarfile.LNKTYPE):
                info.linkname = "/etc/passwd"
            opened.addfile(info, io.BytesIO(content))
    return path


def found(path):
    """Labels of what can be used by key, and what cannot by reason."""
    scanned = scan(path)
    return {key: sample.labels for key, sample in scanned.samples.items()}, scanned.unusable


@pytest.mark.parametrize(("label", "expected"), [
    (("x.cls", b"7"), ["7"]), (("x.cls", b" 12\n"), ["12"]), (("x.cls", b"golden retriever"), ["golden retriever"]),
    (("x.json", b'{"label": 3, "width": 9}'), ["3"]), (("x.json", b'{"labels": ["a", "b", "a"]}'), ["a", "b"]),
    (("x.json", b'{"class": "cat"}'), ["cat"]), (("x.json", b'["a", 2]'), ["a", "2"]),
    (("x.json", b'{"labels": []}'), []),
])
def test_labels(tmp_path, label, expected):
    good, unusable = found(write(tmp_path / "a.tar", ("x.jpg", b"picture"), label))
    assert good == {"x": expected}
    assert not unusable


@pytest.mark.parametrize("label", [
    ("x.cls", b""), ("x.cls", b"\xff\xfe"), ("x.cls", b"  "), ("x.cls", b"a" * 1001), ("x.cls", b"a\x1b[31m"),
    ("x.json", b"{}"), ("x.json", b"["), ("x.json", b"[" * 60_000), ("x.json", b'{"label": null}'),
    ("x.json", b'{"label": 1.5}'), ("x.json", b'{"label": true}'), ("x.json", b'{"labels": [[1]]}'),
    ("x.json", b'{"label": "' + b"9" * 70_000 + b'"}'), ("x.txt", b"7"), ("x.cls.pyd", pickle.dumps(7)),
])
def test_a_picture_without_a_label_that_can_be_read_is_left_out_and_named(tmp_path, label):
    good, unusable = found(write(tmp_path / "a.tar", ("x.jpg", b"picture"), label, ("y.png", b"1"), ("y.cls", b"1")))
    assert good == {"y": ["1"]}
    assert unusable["picture without a label"] == ["x"]


def test_a_key_ends_at_the_first_dot_of_the_base_name(tmp_path):
    good, unusable = found(write(tmp_path / "a.tar", ("d.ir/a.input.jpg", b"1"), ("d.ir/a.cls", b"5"),
                                 ("./b.JPEG", b"2"), ("./b.json", b'{"label": 6}'), ("b/c.jpg", b"1"), ("c.cls", b"1")))
    assert good == {"d.ir/a": ["5"], "b": ["6"]}
    assert unusable == {"picture without a label": ["b/c"], "label without a picture": ["c"]}


def test_a_cls_goes_before_a_json(tmp_path):
    for order in ((("x.cls", b"1"), ("x.json", b'{"label": 2}')), (("x.json", b'{"label": 2}'), ("x.cls", b"1"))):
        assert found(write(tmp_path / "a.tar", ("x.jpg", b"p"), *order))[0] == {"x": ["1"]}


@pytest.mark.fault("D8", "Hostile members of shards are data and left out; there is no decoder of pickles.")
def test_hostile_members_are_data_and_left_out(tmp_path):
    names = ["../up.jpg", "/absolute.jpg", "a/../b.jpg", "C:/x.jpg", "a\\b.jpg", "x" * 65_000 + ".jpg"]
    path = write(tmp_path / "a.tar", *((name, b"1") for name in names), ("zero.jpg", b""), ("zero.cls", b"1"),
                 ("ok.jpg", b"1"), ("ok.cls", b"1"), ("ok.jpg", b"again"), ("ok.pyd", pickle.dumps(print)),
                 ("notes.txt", b"hello"), ("noending", b"1"), (".hidden.jpg", b"1"))
    good, unusable = found(path)
    assert good == {"ok": ["1"]}
    assert len(unusable["name that is absolute, leads upward, is too long or not text"]) == len(names)
    assert unusable["member of zero bytes"] == ["zero.jpg"]
    assert unusable["second picture under the same key"] == ["ok.jpg"]
    assert all(len(name) <= 100 for names in unusable.values() for name in names)


@pytest.mark.parametrize(("kind", "word"), [(tarfile.SYMTYPE, "symbolic link"), (tarfile.LNKTYPE, "hard link"),
                                            (tarfile.CHRTYPE, "device"), (tarfile.FIFOTYPE, "pipe")])
def test_links_and_devices_are_left_out(tmp_path, kind, word):
    good, unusable = found(write(tmp_path / "a.tar", ("x.jpg", b""), ("x.cls", b""), kind=kind))
    assert good == {}
    assert unusable == {word: ["x.jpg", "x.cls"]}


def test_what_was_found_is_kept_until_the_shard_changes(tmp_path, cache, monkeypatch):
    path = write(tmp_path / "a.tar", ("x.jpg", b"1"), ("x.cls", b"1"))
    first = scanned_index(path)
    kept, = cache.iterdir()
    monkeypatch.setattr(module, "scan", None)
    assert scanned_index(path) == first
    monkeypatch.undo()
    monkeypatch.setenv("VITRAIL_HOME", str(cache.parent))
    kept.write_bytes(b"garbage")
    assert scanned_index(path) == first
    write(path, ("y.jpg", b"1"), ("y.cls", b"1"))
    os.utime(path, (1, 1))
    assert scanned_index(path).shards[0].names == ["y.jpg"]
    assert first.shards[0].names == ["x.jpg"]


def test_a_cache_that_cannot_be_written_is_no_harm(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("x")
    monkeypatch.setenv("VITRAIL_HOME", str(tmp_path / "file"))
    assert scanned_index(write(tmp_path / "a.tar", ("x.jpg", b"1"), ("x.cls", b"1"))).shards[0].samples == 1


def test_a_shard_without_samples(tmp_path):
    assert scanned_index(write(tmp_path / "a.tar", ("readme.md", b"1"))).shards[0].samples == 0
