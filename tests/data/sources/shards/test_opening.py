"""Shards as a source: what was packed, here and far away; damage is listed, refused or left out."""

from __future__ import annotations

import io
import itertools
import json
import tarfile

import numpy as np
import pytest
import torch

from vitrail.data.loader import Loader, in_order
from vitrail.data.pack import pack
from vitrail.data.preprocess import Preprocess
from vitrail.data.source import open_source
from vitrail.data.views import EvalView
from vitrail.errors import DataError, ImageError

VIEW = EvalView(Preprocess(size=8))


def batches(source, count=7, **settings):
    stream = Loader(source.splits["train"], VIEW, 8, seed=1, **settings).batches()
    taken = list(itertools.islice(stream, count))
    stream.close()
    return taken


def test_the_packed_source_is_the_source(photos, packed, contents):
    source, back = open_source(str(photos)), open_source(f"shards:{packed}")
    assert back.classes == source.classes
    plain = {split: sorted((name.removeprefix(f"{photos}/"), label, content) for name, label, content in
                           ((name, source.classes[label], part.read(row)) for row, (name, label)
                            in enumerate(zip(part.names, part.labels, strict=True))))
             for split, part in source.splits.items()}
    assert contents(back) == plain
    assert "image folder" in back.kind


def test_a_web_server_gives_the_same_as_the_folder(packed, web, contents):
    near, far = open_source(f"shards:{packed}"), open_source(f"shards:{web.url}")
    assert contents(near) == contents(far)
    assert near.fingerprint == far.fingerprint
    assert far.classes == near.classes
    assert open_source(f"shards:{web.url}index.json").fingerprint == near.fingerprint


@pytest.mark.parametrize("workers", [0, 1, 3])
@pytest.mark.parametrize("habit", ["", "fails", "slow"])
def test_a_loader_yields_the_same_batches_from_anywhere(packed, web, workers, habit):
    near = batches(open_source(f"shards:{packed}"), workers=2)
    far_source = open_source(f"shards:{web.url}")
    web.habit = habit
    for one, other in zip(near, batches(far_source, workers=workers), strict=True):
        assert torch.equal(one.views["image"], other.views["image"])
        assert torch.equal(one.indices, other.indices)
        assert torch.equal(one.targets, other.targets)


def test_a_stream_goes_on_at_any_sample(packed, web):
    source = open_source(f"shards:{web.url}")
    whole = torch.cat([batch.views["image"] for batch in batches(source, 10)])
    for start in (1, 13, 23, 24, 25):
        stream = Loader(source.splits["train"], VIEW, 8, seed=1).batches(start)
        assert torch.equal(next(stream).views["image"], whole[start:start + 8])
        stream.close()


def test_neighbors_come_in_one_request(packed, web):
    source = open_source(f"shards:{web.url}")
    web.requests.clear()
    for passed in in_order(source.splits["train"], VIEW.preprocess, 8, workers=2):
        assert not passed.errors
    shards = {path for path, _ in web.requests}
    assert len(shards) > 1
    assert len(web.requests) < len(source.splits["train"]) / 2


def test_a_dead_store_ends_training_with_its_name(packed, web):
    source = open_source(f"shards:{web.url}")
    web.habit = "dead"
    with pytest.raises(DataError, match=r"train-00000\d\.tar cannot be read, after 6 attempts") as caught:
        batches(source)
    assert not isinstance(caught.value, ImageError)  # it would be replaced by another picture


# Damage.


@pytest.mark.fault("D7", "A shard cut at any of its blocks of 512 bytes, or emptied, is listed and refused.")
def test_a_shard_cut_at_any_block_is_listed(packed):
    shards = sorted(packed.glob("*.tar"))
    for victim in shards:
        content = victim.read_bytes()
        for length in range(0, len(content), 512):
            victim.write_bytes(content[:length])
            with pytest.raises(DataError, match=rf"1 of {len(shards)} shards cannot be used: {victim.name} has "):
                open_source(f"shards:{packed}")
        victim.write_bytes(content)
    open_source(f"shards:{packed}")


@pytest.mark.fault("D7", "With data.skip_bad_shards they are left out with a warning; what is left depends on the "
                   "files alone.")
def test_a_shard_that_was_cut_is_refused_or_left_out(tmp_path):
    pack(open_source("digits"), tmp_path / "packed", shard_bytes=500_000)
    victim = sorted((tmp_path / "packed").glob("train-*.tar"))[1]
    content = victim.read_bytes()
    whole = open_source(f"shards:{tmp_path}/packed")
    lengths = [*range(0, len(content), 512 * 97), len(content) - 512, len(content) - 1]
    for length in lengths:
        victim.write_bytes(content[:length])
        with pytest.raises(DataError, match=rf"1 of 9 shards cannot be used: {victim.name} has {length:,} bytes where"):
            open_source(f"shards:{tmp_path}/packed")
    rest = open_source(f"shards:{tmp_path}/packed", skip_bad_shards=True)
    assert any(victim.name in warning for warning in rest.warnings)
    kept = [name for name in whole.splits["train"].names if not name.startswith(victim.name)]
    assert rest.splits["train"].names == kept  # so the epoch has the same length wherever it is opened
    assert rest.fingerprint != whole.fingerprint
    victim.unlink()
    with pytest.raises(DataError, match=f"{victim.name} is missing"):
        open_source(f"shards:{tmp_path}/packed")
    assert open_source(f"shards:{tmp_path}/packed", skip_bad_shards=True).fingerprint == rest.fingerprint


def test_a_far_shard_that_is_missing_is_listed_too(packed, web):
    (packed / "train-000000.tar").unlink()
    with pytest.raises(DataError, match=r"train-000000\.tar is missing.*skip_bad_shards"):
        open_source(f"shards:{web.url}")
    assert len(open_source(f"shards:{web.url}", skip_bad_shards=True).splits["train"]) < 24


def test_without_any_whole_shard_nothing_is_skipped(packed):
    for shard in packed.glob("*.tar"):
        shard.write_bytes(b"")
    with pytest.raises(DataError, match="cannot be used"):
        open_source(f"shards:{packed}", skip_bad_shards=True)


@pytest.mark.fault("D7", "A changed byte in a shard is found when its picture is read.")
def test_a_changed_byte_is_found_when_the_picture_is_read(packed):
    source = open_source(f"shards:{packed}")
    split = source.splits["train"]
    place = split.reader.table[int(split.keys[4])]
    path = packed / split.reader.files[place[0]]
    content = bytearray(path.read_bytes())
    content[place[1] + 100] ^= 1
    path.write_bytes(content)
    with pytest.raises(ImageError, match="checksum differs from the index"):
        split.read(4)
    assert split.read(5)
    path.write_bytes(content[:place[1] + 3])
    with pytest.raises(DataError, match="has become shorter since it was opened"):
        split.read(4)


@pytest.mark.fault("D9", "In shards it is found by the hashes of their index, however large they are.")
def test_the_same_picture_on_both_sides_is_found_without_reading(tmp_path, monkeypatch):
    for split, numbers in (("train", range(8)), ("test", range(6, 10))):
        for number in numbers:
            path = tmp_path / "photos" / split / "ab"[number % 2] / f"{split}{number}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(b"%d" % number)
    pack(open_source(str(tmp_path / "photos"), validation=0), tmp_path / "packed")
    monkeypatch.setattr("vitrail.data.sources.duplicates.digest", None)
    source = open_source(f"shards:{tmp_path}/packed", validation=0)
    assert any("2 pictures of test also stand in train, byte for byte" in warning for warning in source.warnings)


# Shards that others wrote.


def write_tar(path, members):
    with tarfile.open(path, "w") as opened:
        for name, content in members:
            info = tarfile.TarInfo(name)
            info.size = len(content)
            opened.addfile(info, io.BytesIO(content))


def test_web_dataset_shards_need_no_index(tmp_path, contents):
    for shard in range(3):
        write_tar(tmp_path / f"data-{shard:04d}.tar", [member for number in range(4) for member in (
            (f"{number}.jpg", b"%d/%d" % (shard, number)), (f"{number}.cls", b"%d" % (10 - number)))])
    source = open_source(f"shards:{tmp_path}/data-{{0000..0002}}.tar", divide=False)
    assert source.classes == ("7", "8", "9", "10")  # ordered as numbers
    assert contents(source)["test"] == sorted((f"{n}.jpg", str(10 - n), b"%d/%d" % (s, n))
                                              for s in range(3) for n in range(4))
    assert open_source(f"shards:{tmp_path}").fingerprint == open_source(f"shards:{tmp_path}/*.tar").fingerprint


def test_names_of_shards_tell_the_splits(tmp_path):
    for split in ("train", "val"):
        write_tar(tmp_path / f"{split}-0.tar", [member for number in range(4) for member in (
            (f"{number}.png", f"{split}{number}".encode()), (f"{number}.json", json.dumps(
                {"labels": ["cat", "dog"][:1 + number % 2]}).encode()))])
    source = open_source(f"shards:{tmp_path}")
    assert {name: len(split) for name, split in source.splits.items()} == {"train": 4, "val": 4}
    assert source.multilabel
    assert np.array_equal(source.splits["val"].labels, np.array([[1, 0], [1, 1]] * 2, np.float32))


@pytest.mark.fault("D7", "A shard of others, without an index, is refused, too, where it was cut at any block or lacks "
                   "its end mark.")
def test_a_damaged_shard_of_others_is_listed_too(tmp_path):
    members = [member for number in range(6) for member in ((f"{number}.jpg", b"x" * 700), (f"{number}.cls", b"%d" % (
        number % 2)))]
    write_tar(tmp_path / "a.tar", members)
    content = (tmp_path / "a.tar").read_bytes()
    write_tar(tmp_path / "b.tar", [(f"b{name}", data) for name, data in members])
    for length in range(0, 6 * 5 * 512, 512):
        (tmp_path / "a.tar").write_bytes(content[:length])
        with pytest.raises(DataError, match=r"1 of 2 shards cannot be used: a\.tar is damaged"):
            open_source(f"shards:{tmp_path}")
    assert len(open_source(f"shards:{tmp_path}", skip_bad_shards=True, divide=False).splits["test"]) == 6


def test_far_shards_without_an_index_are_refused(packed, web):
    (packed / "index.json").unlink()
    with pytest.raises(DataError, match=r"index\.json is missing: shards in a store far away need their index"):
        open_source(f"shards:{web.url}train-000000.tar")


# An object store.


def test_an_s3_store_gives_the_same(packed, contents, monkeypatch):
    server = pytest.importorskip("moto.server", reason="moto, which plays S3, is not installed")
    pytest.importorskip("s3fs", reason="S3 needs s3fs")
    boto3 = pytest.importorskip("boto3")
    for name, value in (("AWS_ACCESS_KEY_ID", "testing"), ("AWS_SECRET_ACCESS_KEY", "testing"),
                        ("AWS_DEFAULT_REGION", "us-east-1")):
        monkeypatch.setenv(name, value)
    moto = server.ThreadedMotoServer(port=0, verbose=False)
    moto.start()
    try:
        host, port = moto.get_host_and_port()
        url = f"http://{host}:{port}"
        monkeypatch.setenv("AWS_ENDPOINT_URL", url)
        client = boto3.client("s3", endpoint_url=url)
        client.create_bucket(Bucket="pictures")
        for file in packed.iterdir():
            client.upload_file(str(file), "pictures", f"sets/{file.name}")
        near, far = open_source(f"shards:{packed}"), open_source("shards:s3://pictures/sets/")
        assert contents(far) == contents(near)
        assert far.fingerprint == near.fingerprint
        for one, other in zip(batches(near), batches(far), strict=True):
            assert torch.equal(one.views["image"], other.views["image"])
        client.delete_object(Bucket="pictures", Key="sets/train-000000.tar")
        with pytest.raises(DataError, match=r"train-000000\.tar is missing"):
            open_source("shards:s3://pictures/sets/index.json")
    finally:
        moto.stop()
