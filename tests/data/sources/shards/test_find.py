"""Patterns: folders, braces, stars, an index, and what is wrong with others."""

from __future__ import annotations

import shutil

import pytest

from vitrail.data.sources.shards.find import expanded, find_shards
from vitrail.errors import DataError, UsageError


def files(spec: str) -> list[str]:
    return [shard.file for _, shard in find_shards(spec).shards]


def test_every_way_to_name_shards(packed, monkeypatch):
    monkeypatch.chdir(packed.parent)
    every = sorted(path.name for path in packed.glob("*.tar"))
    train = [name for name in every if name.startswith("train")]
    assert len(train) > 2
    for spec in (packed, f"{packed}/", f"{packed}/index.json", "packed", "./packed", f"{packed}/*.tar"):
        assert sorted(files(f"shards:{spec}")) == every
    assert files(f"shards:{packed}/train-*.tar") == train
    assert files(f"shards:{packed}/train-{{000000..000001}}.tar") == train[:2]
    assert files("shards:packed/train-00000{0,2}.tar") == [train[0], train[2]]
    assert files("shards:packed/train-00000?.tar") == train[:10]
    monkeypatch.chdir(packed)
    assert files("shards:train-000000.tar") == train[:1]
    assert sorted(files("shards:.")) == every


def test_a_url_is_a_folder_unless_it_ends_otherwise(packed, web):
    every = sorted(path.name for path in packed.glob("*.tar"))
    for spec in (web.url, web.url.rstrip("/"), f"{web.url}index.json"):
        assert sorted(files(f"shards:{spec}")) == every
    assert files(f"shards:{web.url}train-00000{{0..1}}.tar") == ["train-000000.tar", "train-000001.tar"]


def test_without_the_index_the_same_shards_are_found(packed):
    every = sorted(path.name for path in packed.glob("*.tar"))
    (packed / "index.json").write_text('{"__kind__": "wids-shard-index-v1"}')  # of somebody else
    assert files(f"shards:{packed}") == every
    assert files(f"shards:{packed}/test-*.tar") == [name for name in every if name.startswith("test")]
    with pytest.raises(DataError, match="not an index of shards"):
        find_shards(f"shards:{packed}/index.json")


@pytest.mark.parametrize(("pattern", "names"), [
    ("a.tar", ["a.tar"]), ("{08..11}.tar", ["08.tar", "09.tar", "10.tar", "11.tar"]),
    ("{a,b}-{0..1}.tar", ["a-0.tar", "a-1.tar", "b-0.tar", "b-1.tar"]), ("{x}-*.tar", ["x-*.tar"]),
])
def test_braces(pattern, names):
    assert expanded(pattern, "spec") == names


@pytest.mark.parametrize(("tail", "error", "message"), [
    ("", UsageError, "names no shards"), ("{packed}/nothing.json", DataError, "There is no .*nothing.json"),
    ("{packed}/train-7.tar", DataError, "knows no shard 'train-7.tar'. It knows"),
    ("{packed}/x*.tar", DataError, "knows no shard 'x"), ("{packed}/a.zip", DataError, "does not end in .tar"),
    ("{packed}/train-000000.tar.gz", UsageError, "compressed as a whole"), ("{packed}/a.tgz", UsageError, "compressed"),
    ("/nowhere/a.tar", DataError, "cannot be looked at: No such file"), ("/nowhere", DataError, "is no such folder"),
    ("{packed}/*/a.tar", UsageError, "only the last part"), ("{photos}", DataError, "names no tar file"),
    ("{packed}/{{5..1}}.tar", UsageError, "no range of numbers"), ("{packed}/{{0..9999999}}.tar", UsageError, "range"),
    ("{packed}/{{0..99999}}{{0..99999}}.tar", UsageError, "10,000,000,000 names"),
])
def test_what_names_no_shards_is_explained(packed, photos, tail, error, message):
    with pytest.raises(error, match=message):
        find_shards("shards:" + tail.format(packed=packed, photos=photos))


def test_a_named_shard_that_is_missing_is_damage_not_a_pattern(packed):
    (packed / "index.json").unlink()
    shutil.copy(packed / "train-000000.tar", packed / "a-0.tar")
    found = find_shards(f"shards:{packed}/a-{{0..2}}.tar")
    assert [shard.file for _, shard in found.shards] == ["a-0.tar"]
    assert found.damaged == {"a-1.tar": "is missing", "a-2.tar": "is missing"}
