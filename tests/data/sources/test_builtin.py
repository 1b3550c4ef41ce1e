"""The embedded data sets equal their originals, and `fashion` says which pictures it took."""

from __future__ import annotations

import shutil

import numpy as np
import pytest

from vitrail.data.source import open_source
from vitrail.data.sources import builtin
from vitrail.data.sources.builtin import FASHION_PLACE
from vitrail.data.sources.idx import read_folder
from vitrail.data.sources.sheets import EMBEDDED, Pictures, read_sheets, write_sheets
from vitrail.errors import DataError, UsageError

full = pytest.mark.skipif(not FASHION_PLACE.is_dir(), reason="Debian's dataset-fashion-mnist is not installed")


@pytest.fixture
def nothing_installed(monkeypatch, tmp_path):
    monkeypatch.setattr(builtin, "FASHION_PLACE", tmp_path / "nowhere")
    monkeypatch.setenv("VITRAIL_HOME", str(tmp_path / "home"))
    return tmp_path


def test_the_embedded_fashion_has_500_and_100_of_each_class():
    source = open_source("fashion:embedded", validation=0)
    assert {name: np.bincount(split.labels).tolist() for name, split in source.splits.items()} == {
        "train": [500] * 10, "test": [100] * 10}
    assert source.classes[0] == "T-shirt/top"
    assert source.classes[9] == "Ankle boot"
    picture = source.splits["train"].read(0)
    assert picture.shape == (28, 28)
    assert picture.dtype == np.uint8


def test_val_of_the_embedded_fashion_is_taken_from_train():
    source = open_source("fashion:embedded")
    counts = {name: np.bincount(split.labels).tolist() for name, split in source.splits.items()}
    assert counts == {"train": [450] * 10, "val": [50] * 10, "test": [100] * 10}


@full
def test_the_embedded_fashion_equals_the_original():
    originals = read_folder(FASHION_PLACE)
    classes, splits, _ = read_sheets(EMBEDDED / "fashion")
    assert classes == builtin.FASHION_CLASSES
    for name, count in (("train", 500), ("test", 100)):
        images, labels = originals[name]
        part = splits[name]
        assert (part.images == images[part.indices]).all()
        assert (part.labels == labels[part.indices]).all()
        for label in range(10):
            assert part.indices[part.labels == label].tolist() == np.flatnonzero(labels == label)[:count].tolist()


@full
def test_the_full_fashion_is_used_where_it_is_installed():
    source = open_source("fashion")
    assert "full 70,000" in source.kind
    counts = {name: len(split) for name, split in source.splits.items()}
    assert counts == {"train": 54_000, "val": 6_000, "test": 10_000}
    small = open_source("fashion:embedded")
    row = source.splits["test"].names.index(small.splits["test"].names[500])
    assert (source.splits["test"].read(row) == small.splits["test"].read(500)).all()


@full
def test_the_cache_is_the_second_place(nothing_installed, monkeypatch):
    cache = nothing_installed / "home" / "datasets" / "fashion-mnist"
    cache.parent.mkdir(parents=True)
    cache.symlink_to(FASHION_PLACE)
    assert str(cache) in open_source("fashion:full").kind
    monkeypatch.delenv("VITRAIL_HOME")
    monkeypatch.setenv("XDG_CACHE_HOME", str(nothing_installed / "cache"))
    assert builtin.cache_folder() == nothing_installed / "cache" / "vitrail"
    assert "embedded" in open_source("fashion").kind


def test_fashion_falls_back_to_the_embedded_pictures_and_full_says_how_to_get_them(nothing_installed):
    assert "embedded 6,000" in open_source("fashion").kind
    with pytest.raises(DataError, match="Install Debian's package dataset-fashion-mnist"):
        open_source("fashion:full")
    with pytest.raises(UsageError, match="fashion:embedded"):
        open_source("fashion:small")


def test_a_folder_with_the_name_of_a_builtin_is_pointed_out(nothing_installed, monkeypatch):
    monkeypatch.chdir(nothing_installed)
    (nothing_installed / "digits").mkdir()
    assert any("./digits" in note for note in open_source("digits").notes)


def test_digits_equal_those_of_scikit_learn():
    datasets = pytest.importorskip("sklearn.datasets")
    original = datasets.load_digits()
    classes, splits, _ = read_sheets(EMBEDDED / "digits")
    assert classes == tuple("0123456789")
    assert sorted(np.concatenate([part.indices for part in splits.values()])) == list(range(1797))
    for part in splits.values():
        assert (np.rint(part.images * (16 / 255)) == original.images[part.indices]).all()
        assert (part.labels == original.target[part.indices]).all()
    assert splits["train"].images.max() == 255


def test_the_last_fifth_of_each_digit_is_the_test_split():
    _, splits, _ = read_sheets(EMBEDDED / "digits")
    for label in range(10):
        train, test = (splits[name].indices[splits[name].labels == label] for name in ("train", "test"))
        assert train.max() < test.min()
        assert len(test) == round((len(train) + len(test)) / 5)


def test_names_carry_the_place_in_the_original():
    source = open_source("digits", validation=0)
    _, splits, _ = read_sheets(EMBEDDED / "digits")
    assert source.splits["test"].names[3] == f"digits/test/{splits['test'].indices[3]}"


@pytest.mark.parametrize("by_class", [True, False])
def test_sheets_give_back_what_was_written(tmp_path, by_class):
    generator = np.random.default_rng(0)
    labels = generator.integers(0, 3, 17)
    part = Pictures(generator.integers(0, 256, (17, 5, 4), np.uint8), labels, np.arange(17) * 2)
    checksum = write_sheets(tmp_path, {"train": part}, ["a/b", "c", "d"], columns=4, by_class=by_class)
    classes, splits, again = read_sheets(tmp_path)
    assert classes == ("a/b", "c", "d")
    assert again == checksum
    for key in ("images", "labels", "indices"):
        assert (getattr(splits["train"], key) == getattr(part, key)).all()


def test_damaged_sheets_are_refused(tmp_path):
    folder = tmp_path / "digits"
    shutil.copytree(EMBEDDED / "digits", folder)
    (folder / "index.json").write_text((folder / "index.json").read_text().replace('"labels":[0,1', '"labels":[1,1', 1))
    with pytest.raises(DataError, match="has changed"):
        read_sheets(folder)
    (folder / "test.png").write_bytes(b"no picture")
    with pytest.raises(DataError, match="cannot be read"):
        read_sheets(folder)
