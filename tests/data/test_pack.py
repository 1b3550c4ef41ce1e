"""Source -> shards: what is packed comes back, the same input gives the same bytes, and faults leave nothing behind."""

from __future__ import annotations

import io
import os
import resource
import signal
import tarfile
from itertools import pairwise
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pytest
from hostile import corpus, noise, saved
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from vitrail.data.decode import decode
from vitrail.data.pack import pack, plain_name
from vitrail.data.source import Source, Split, open_source
from vitrail.errors import DataError, ImageError, SaveError, UsageError
from vitrail.files import verify_manifest


class Held:
    """Pictures in memory, among them some that cannot be read."""

    def __init__(self, items: list[bytes | np.ndarray | None]) -> None:
        self.items = items

    def read(self, key: int) -> bytes | np.ndarray:
        item = self.items[key]
        if item is None:
            raise ImageError(f"p{key}", "it is gone")
        return item


def source_of(items: list[bytes | np.ndarray | None], labels: np.ndarray, classes: tuple[str, ...] = ("a", "b"),
              parts: dict[str, slice] | None = None) -> Source:
    splits = {}
    for name, part in (parts or {"train": slice(0, len(items))}).items():
        rows = np.arange(len(items))[part]
        splits[name] = Split([f"p{row}" for row in rows], rows, labels[part], Held(items))
    return Source("memory", "pictures in memory", classes, splits, "0" * 64, labels.ndim == 2)


def everything(source: Source) -> dict[str, list[tuple[str, object, bytes]]]:
    return {name: sorted((title.rpartition(":")[2], np.asarray(label).tolist(), bytes(split.read(row)))
                         for row, (title, label) in enumerate(zip(split.names, split.labels, strict=True)))
            for name, split in source.splits.items()}


@settings(max_examples=25, deadline=None)
@given(st.lists(st.binary(min_size=1, max_size=1500), min_size=6, max_size=20), st.booleans(),
       st.sampled_from([1, 3000, 10**6]), st.randoms(use_true_random=False))
def test_what_is_packed_comes_back(files, several, shard_bytes, random):
    """Any bytes, labels, splits and shard sizes."""
    count, classes = len(files), ("猫", "dog", "a.b/c")
    labels = np.array([random.randrange(3) for _ in files])
    labels[:3] = range(3)
    if several:
        labels = np.eye(3, dtype=np.float32)[labels]
        labels[3:] = [[random.randrange(2) for _ in range(3)] for _ in range(count - 3)]
    source = source_of(files, labels, classes, {"train": slice(0, count - 2), "val": slice(count - 2, count - 1),
                                                "test": slice(count - 1, count)})
    with TemporaryDirectory() as folder:
        index = pack(source, Path(folder, "out"), shard_bytes=shard_bytes)
        back = open_source(f"shards:{folder}/out")
        assert everything(back) == everything(source)
        assert (back.classes, back.multilabel) == (classes, several)
        assert sum(shard.samples for shard in index.shards) == count
        if shard_bytes == 1:
            assert len(index.shards) == count
        for shard in index.shards:  # an independent reader of tar sees the same
            with tarfile.open(Path(folder, "out", shard.file)) as opened:
                stored = {member.name: opened.extractfile(member).read() for member in opened}
            assert len(stored) == 2 * shard.samples
            pictures = {title: content for rows in everything(source).values() for title, _, content in rows}
            assert sorted(stored[name] for name in stored if not name.endswith((".cls", ".json"))) == sorted(
                pictures[name] for name in shard.names)


def test_the_same_input_gives_the_same_bytes(tmp_path):
    files = [saved(noise(40, 50, seed), "JPEG") for seed in range(12)]
    for folder in ("one/photos", "two/photos"):
        for number, content in enumerate(files):
            path = tmp_path / folder / "ab"[number % 2] / f"{number}.jpg"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
        os.utime(path, (1, 1))
        pack(open_source(str(tmp_path / folder)), tmp_path / folder / "../out", image_size=20)
    first, second = ({file.name: file.read_bytes() for file in (tmp_path / name / "out").iterdir()}
                     for name in ("one", "two"))
    assert first == second
    verify_manifest(tmp_path / "one" / "out")


def test_neighbors_are_of_different_classes(tmp_path):
    files = [b"%d" % number for number in range(200)]
    pack(source_of(files, np.arange(200) // 100), tmp_path / "out")
    with tarfile.open(tmp_path / "out" / "train-000000.tar") as opened:
        labels = [opened.extractfile(member).read() for member in opened if member.name.endswith(".cls")]
    assert 60 < sum(one != other for one, other in pairwise(labels)) < 140


def test_large_pictures_are_made_smaller_and_others_keep_their_bytes(tmp_path):
    wide, small = noise(60, 120), saved(noise(16, 90), "PNG")
    turned = io.BytesIO()
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(wide).save(turned, "JPEG", quality=95, exif=exif)
    files = [saved(wide, "PNG"), small, turned.getvalue(), wide, wide[:12, :12]]
    pack(source_of(files, np.arange(5) % 2), tmp_path / "out", image_size=30, quality=95)
    split = open_source(f"shards:{tmp_path}/out", divide=False).splits["train"]
    back = {title.rpartition(":")[2]: bytes(split.read(row)) for row, title in enumerate(split.names)}
    assert back["p1"] == small
    peer = saved(Image.fromarray(wide).resize((60, 30), Image.Resampling.BICUBIC), "JPEG", quality=95, subsampling=2)
    expected = decode(peer, "peer").astype(int)
    for name, size, near in (("p0", (30, 60), 1.5), ("p2", (60, 30), 15), ("p3", (30, 60), 1.5)):  # p2: a JPEG twice
        assert back[name][:3] == b"\xff\xd8\xff"
        pixels = decode(back[name], name)
        assert pixels.shape[:2] == size
        upright = np.rot90(pixels) if name == "p2" else pixels
        assert np.abs(upright.astype(int) - expected).mean() < near
    assert back["p4"][:4] == b"\x89PNG"
    assert np.array_equal(decode(back["p4"], "p4"), wide[:12, :12])


def test_every_kind_of_picture_can_be_packed_both_ways(tmp_path):
    files = corpus()
    source = source_of(list(files.values()), np.arange(len(files)) % 2)
    assert pack(source, tmp_path / "as-they-are").left_out == []
    assert pack(source, tmp_path / "smaller", image_size=4).left_out == []
    assert everything(open_source(f"shards:{tmp_path}/as-they-are")) != {}
    for split in open_source(f"shards:{tmp_path}/smaller", divide=False).splits.values():
        assert all(min(decode(split.read(row), "x").shape[:2]) == 4 for row in range(len(split)))


def test_a_picture_that_cannot_be_decoded_stays_as_it_is(tmp_path):
    cut = saved(noise(60, 60), "JPEG")[:700]
    source = source_of([cut, *[saved(noise(60, 60, seed), "JPEG") for seed in range(3)]], np.arange(4) % 2)
    assert pack(source, tmp_path / "out", image_size=8).left_out == []
    back = everything(open_source(f"shards:{tmp_path}/out", divide=False))
    assert cut in [content for rows in back.values() for _, _, content in rows]


def test_a_picture_that_is_gone_is_left_out_and_named_but_many_are_an_error(tmp_path):
    files: list[bytes | np.ndarray | None] = [b"%d" % number for number in range(40)]
    files[7] = None
    index = pack(source_of(files, np.arange(40) % 2), tmp_path / "out")
    assert index.left_out == [("p7", "it is gone")]
    source = open_source(f"shards:{tmp_path}/out")
    assert any("1 x it is gone, left out: 'p7'" in warning for warning in source.warnings)
    files[9] = None
    with pytest.raises(DataError, match=r"2 of 40 pictures of memory cannot be read.*p(7|9): it is gone"):
        pack(source_of(files, np.arange(40) % 2), tmp_path / "more")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out"]


def test_what_stands_there_is_never_touched(tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "thesis.txt").write_text("years of work")
    with pytest.raises(UsageError, match="is not empty"):
        pack(source_of([b"1", b"2"], np.arange(2)), tmp_path / "out")
    assert (tmp_path / "out" / "thesis.txt").read_text() == "years of work"


def test_progress_reaches_the_end(tmp_path):
    seen = []
    pack(source_of([b"%d" % number for number in range(50)], np.arange(50) % 2), tmp_path / "out", watch=seen.append)
    assert seen[-1].done == seen[-1].total == 50
    assert seen[-1].rate > 0


def test_a_full_disk_leaves_nothing(tmp_path):
    source = source_of([os.urandom(5000) for _ in range(60)], np.arange(60) % 2)
    limits, handler = resource.getrlimit(resource.RLIMIT_FSIZE), signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, limits[1]))
    try:
        with pytest.raises(SaveError, match="Free some space"):
            pack(source, tmp_path / "out")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, handler)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(("name", "spec", "plain"), [
    ("photos/cat/1.jpg", "photos", "cat/1.jpg"), ("photos/cat/1.jpg", "photos/", "cat/1.jpg"),
    ("a.zip:cat/1.jpg", "a.zip", "cat/1.jpg"), ("fashion/test/7", "fashion", "test/7"),
    ("lists/a/1.jpg", "lists/labels.csv", "a/1.jpg"), ("/far/1.jpg", "lists/labels.csv", "/far/1.jpg"),
    ("1.jpg", "labels.csv", "1.jpg"), ("photosets/1.jpg", "photos", "photosets/1.jpg"),
])
def test_names_do_not_say_where_the_source_lay(name, spec, plain):
    assert plain_name(name, spec) == plain
