"""Data sets in the layout of the hub, read by its library from this machine."""

from __future__ import annotations

import numpy as np
import pytest
from hostile import noise, saved

from vitrail.data.source import open_source
from vitrail.errors import DataError, ImageError, UsageError

datasets = pytest.importorskip("datasets", reason="hf: needs vitrail[hub]")
pytestmark = pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::DeprecationWarning")

PICTURES = [saved(noise(8, 9, seed), "PNG") for seed in range(10)]
NAMES = ["cat", "dog", "owl"]


@pytest.fixture
def repository(tmp_path, monkeypatch):
    """A function that writes splits as the hub has them and returns the spec of the folder."""
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")
    datasets.disable_progress_bars()

    def write(features=None, **splits):
        kinds = datasets.Features(features or {"image": datasets.Image(), "label": datasets.ClassLabel(names=NAMES)})
        for split, columns in splits.items():
            path = tmp_path / "set" / "data" / f"{split}-00000-of-00001.parquet"
            path.parent.mkdir(parents=True, exist_ok=True)
            datasets.Dataset.from_dict(columns, features=kinds).to_parquet(str(path))
        return f"hf:{tmp_path / 'set'}"
    return write


def images(rows):
    return [{"bytes": PICTURES[row], "path": None} for row in rows]


def test_a_repository_with_named_classes(repository):
    source = open_source(repository(train={"image": images(range(6)), "label": [2, 1, 0] * 2},
                                    test={"image": images(range(6, 9)), "label": [0, 1, 2]}), validation=0)
    assert source.classes == ("cat", "dog", "owl")
    assert {name: len(split) for name, split in source.splits.items()} == {"train": 6, "test": 3}
    assert source.splits["train"].labels.tolist() == [2, 1, 0] * 2
    assert [source.splits["test"].read(row) for row in range(3)] == PICTURES[6:9]
    assert source.splits["test"].names[0].endswith("set:test/0")


def test_the_fingerprint_is_of_the_content_and_not_of_the_place(repository, tmp_path):
    spec = repository(train={"image": images(range(6)), "label": [2, 1, 0] * 2})
    (tmp_path / "set").rename(tmp_path / "moved")
    again = repository(train={"image": images(range(6)), "label": [2, 1, 0] * 2})
    assert open_source(spec).fingerprint == open_source(f"hf:{tmp_path / 'moved'}").fingerprint
    other = repository(train={"image": images(range(6)), "label": [2, 1, 0, 1, 2, 0]})
    assert again == other
    assert open_source(other).fingerprint != open_source(f"hf:{tmp_path / 'moved'}").fingerprint


@pytest.mark.parametrize(("kind", "labels", "classes"), [
    ("int64", [10, 9, 9, 10], ("9", "10")), ("string", ["b", "a", "b", "a"], ("a", "b"))])
def test_labels_that_are_numbers_or_words(repository, kind, labels, classes):
    features = {"image": datasets.Image(), "label": datasets.Value(kind)}
    source = open_source(repository(features, train={"image": images(range(4)), "label": labels}), divide=False)
    assert source.classes == classes


def test_several_labels_a_picture(repository):
    features = {"img": datasets.Image(), "tags": datasets.List(datasets.ClassLabel(names=NAMES))}
    source = open_source(repository(features, train={"img": images(range(4)), "tags": [[0], [1, 2], [], [0, 1]]},
                                    validation={"img": images([5]), "tags": [[2]]}))
    assert source.multilabel
    assert np.array_equal(source.splits["train"].labels, [[1, 0, 0], [0, 1, 1], [0, 0, 0], [1, 1, 0]])


def test_a_folder_of_images(repository, tmp_path):
    for row, label in enumerate(["cat", "dog"] * 4):
        path = tmp_path / "pictures" / "train" / label / f"{row}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(PICTURES[row])
    source = open_source(f"hf:{tmp_path / 'pictures'}", divide=False)
    assert source.classes == ("cat", "dog")
    split = source.splits["train"]
    assert sorted(split.read(row) for row in range(8)) == sorted(PICTURES[:8])


def test_a_row_without_a_picture_is_an_image_error(repository):
    spec = repository(train={"image": [*images(range(3)), None], "label": [0, 1, 2, 0]})
    split = open_source(spec, divide=False).splits["train"]
    with pytest.raises(ImageError, match=r"train/3: there is no picture"):
        split.read(3)


@pytest.mark.parametrize(("features", "columns", "message"), [
    ({"text": "string", "label": "int64"}, {"text": ["a"], "label": [1]}, "0 columns of images"),
    ({"image": None, "other": "int64"}, {"image": images([0]), "other": [1]}, "0 columns of labels"),
    ({"a": None, "b": None, "label": "int64"}, {"a": images([0]), "b": images([1]), "label": [1]},
     r"2 columns of images \(a, b\)"),
    ({"image": None, "label": "int64"}, {"image": images([0, 1]), "label": [1, None]}, "row 2 has no label"),
])
def test_what_cannot_be_told_is_explained(repository, features, columns, message):
    kinds = {name: datasets.Image() if kind is None else datasets.Value(kind) for name, kind in features.items()}
    with pytest.raises(DataError, match=message):
        open_source(repository(kinds, train=columns))


def test_splits_of_other_names_are_an_error(repository, tmp_path):
    spec = repository(train={"image": images(range(3)), "label": [0, 1, 2]})
    (tmp_path / "set" / "README.md").write_text("---\nconfigs:\n- config_name: default\n  data_files:\n  - split: "
                                               "extra\n    path: data/*.parquet\n---\n")
    with pytest.raises(DataError, match="has the splits extra; known are train"):
        open_source(spec)


def test_offline_it_says_what_is_missing(repository, monkeypatch):
    monkeypatch.setattr(datasets.config, "HF_HUB_OFFLINE", True)
    with pytest.raises(DataError, match=r"hf:nobody/nothing cannot be loaded.*HF_HUB_OFFLINE is set.*hf:\./folder"):
        open_source("hf:nobody/nothing")


@pytest.mark.parametrize("spec", ["hf:", "hf:a:b:c"])
def test_a_spec_without_a_name(spec):
    with pytest.raises(UsageError, match="names no data set"):
        open_source(spec)


def test_without_the_library_it_says_what_to_install(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "datasets", None)
    with pytest.raises(UsageError, match=r"pip install 'vitrail\[hub\]'"):
        open_source("hf:owner/name")
