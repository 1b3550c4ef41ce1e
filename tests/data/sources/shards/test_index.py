"""The index comes from anywhere, so nothing in it is believed."""

from __future__ import annotations

import json

import pytest

from vitrail.data.sources.shards.index import Shard, fingerprint_of, read_index, split_of_name
from vitrail.errors import DataError

SHARD = {"file": "train-000000.tar", "split": "train", "bytes": 4096, "sha256": "0" * 64, "samples": 2,
         "names": ["a.jpg", "b.jpg"], "offsets": [512, 2048], "sizes": [700, 5], "labels": [0, 1],
         "hashes": ["0" * 16, "f" * 16]}
INDEX = {"format": "vitrail shards", "format_version": 1, "kind": "a folder", "classes": ["cat", "dog"],
         "multilabel": False, "shards": [SHARD]}


def with_shard(**changes) -> bytes:
    return json.dumps(INDEX | {"shards": [SHARD | changes]}).encode()


def test_what_is_written_is_read():
    index = read_index(json.dumps(INDEX).encode(), "index.json")
    assert read_index(index.encode(), "index.json") == index
    several = read_index(with_shard(labels=[[], [0, 1]]).replace(b'"multilabel": false', b'"multilabel": true'), "i")
    assert read_index(several.encode(), "i") == several


@pytest.mark.parametrize(("content", "message"), [
    (b"", "JSON"), (b"{}", "kind"), (b"[" * 100_000, "JSON|recursion"), (b'{"__kind__": "wids"}', "kind"),
    (json.dumps(INDEX | {"format_version": 2}).encode(), "format_version"),
    (json.dumps(INDEX | {"more": 1}).encode(), "more"),
    (json.dumps(INDEX | {"shards": [SHARD, SHARD]}).encode(), "two shards have the same file name"),
    (with_shard(file="../../etc/passwd"), "not the plain name of a .tar"),
    (with_shard(file="/etc/x.tar"), "not the plain name"), (with_shard(file="a\0.tar"), "not the plain name"),
    (with_shard(file=".hidden.tar"), "not the plain name"), (with_shard(file="a\\b.tar"), "not the plain name"),
    (with_shard(split="evil"), "split"), (with_shard(bytes=-1), "bytes"), (with_shard(bytes=2**70), "bytes"),
    (with_shard(sizes=[700, 0]), "sizes"), (with_shard(sizes=[700, 10**12]), "sizes"),
    (with_shard(offsets=[512, -5]), "offsets"), (with_shard(offsets=[512, 4095]), "reaches to byte 4,100 of 4,096"),
    (with_shard(samples=3), "not the 3 rows"), (with_shard(labels=[0]), "not the 2 rows"),
    (with_shard(labels=[0, 2]), "label 2 is not among the 2 classes"), (with_shard(labels=[0, -1]), "labels"),
    (with_shard(labels=[[0], [0, 1]]), "several labels"), (with_shard(hashes=["0" * 16, "xyz"]), "hashes"),
    (with_shard(sha256="abc"), "sha256"), (with_shard(offsets=[1e300, 2]), "offsets"),
])
def test_a_false_index_is_refused_with_the_reason(content, message):
    with pytest.raises(DataError, match=rf"(?s)^place is not an index of shards.*({message})"):
        read_index(content, "place")


def test_the_fingerprint_hangs_on_content_and_labels():
    def mark(**changes) -> str:
        return fingerprint_of([Shard.model_validate(SHARD | changes)])

    assert mark() == mark()
    assert len({mark(), mark(sha256="1" * 64), mark(labels=[1, 0]), mark(bytes=5000), mark(split="val")}) == 5


@pytest.mark.parametrize(("file", "split"), [
    ("train-000000.tar", "train"), ("validation_3.tar", "val"), ("TEST.tar", "test"), ("imagenet-train-0.tar", None),
    ("trainers-0.tar", None), ("0.tar", None)])
def test_the_split_of_a_name(file, split):
    assert split_of_name(file) == split


