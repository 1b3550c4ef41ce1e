"""Arrays in .npz files: the names and shapes that are taken, and clear words about the others."""

from __future__ import annotations

import io
import zipfile
from pathlib import Path

import numpy as np
import pytest

from vitrail.data.source import Source, open_source
from vitrail.errors import DataError

IMAGES = np.arange(30, dtype=np.uint8)[:, None, None] * np.ones((30, 4, 5), np.uint8)
LABELS = np.arange(30) % 3


@pytest.fixture
def saved(tmp_path):
    def save(**arrays) -> str:
        np.savez_compressed(tmp_path / "arrays.npz", **arrays)
        return str(tmp_path / "arrays.npz")
    return save


def hand_counted(source: Source) -> None:
    """Picture i has the value i and the label i % 3, wherever it went."""
    for split in source.splits.values():
        for row in range(len(split)):
            assert source.classes[split.labels[row]] == str(split.read(row)[0, 0] % 3)


def test_images_and_labels_are_divided(saved):
    source = open_source(saved(images=IMAGES, labels=LABELS))
    assert source.classes == ("0", "1", "2")
    assert {name: len(split) for name, split in source.splits.items()} == {"train": 24, "val": 3, "test": 3}
    hand_counted(source)


@pytest.mark.parametrize(("images", "labels"), [("{}_images", "{}_labels"), ("x_{}", "y_{}")])
def test_own_splits(saved, images, labels):
    arrays = {}
    for split, part in (("train", slice(0, 18)), ("val", slice(18, 24)), ("test", slice(24, 30))):
        arrays |= {images.format(split): IMAGES[part], labels.format(split): LABELS[part][:, None]}
    source = open_source(saved(**arrays))
    assert {name: len(split) for name, split in source.splits.items()} == {"train": 18, "val": 6, "test": 6}
    hand_counted(source)


def test_class_names(saved):
    source = open_source(saved(images=IMAGES, labels=LABELS, classes=np.array(["zebra", "ant", "猫"])), divide=False)
    assert source.classes == ("zebra", "ant", "猫")
    assert (source.splits["test"].labels == LABELS).all()
    with pytest.raises(DataError, match="classes name 0 to 1"):
        open_source(saved(images=IMAGES, labels=LABELS, classes=np.array(["zebra", "ant"])))


def test_labels_as_text(saved):
    source = open_source(saved(images=IMAGES, labels=np.array(["b", "a", "c"])[LABELS]), divide=False)
    assert source.classes == ("a", "b", "c")
    assert source.splits["test"].labels[:3].tolist() == [1, 0, 2]


def test_several_labels(saved):
    table = np.stack([LABELS == 0, LABELS > 0, np.ones(30)], 1).astype(np.int64)
    source = open_source(saved(images=IMAGES, labels=table, classes=np.array(["x", "y", "z"])), divide=False)
    assert source.multilabel
    assert source.splits["test"].labels.dtype == np.float32
    assert (source.splits["test"].labels == table).all()


@pytest.mark.parametrize(("shape", "expected"), [((30, 4, 5, 3), (4, 5, 3)), ((30, 4, 5, 1), (4, 5))])
def test_channels(saved, shape, expected):
    source = open_source(saved(images=np.zeros(shape, np.uint8) + IMAGES[..., None], labels=LABELS))
    assert source.splits["train"].read(0).shape == expected


@pytest.mark.parametrize(("arrays", "message"), [
    ({"images": IMAGES / 255, "labels": LABELS}, r"images is float64; only uint8.*\(images \* 255\)"),
    ({"images": IMAGES.astype(np.int64), "labels": LABELS}, "images is int64; only uint8"),
    ({"images": np.zeros((30, 3, 8, 8), np.uint8), "labels": LABELS}, "channels first"),
    ({"images": np.zeros((30, 8, 8, 4), np.uint8), "labels": LABELS}, r"shape \[30, 8, 8, 4\]"),
    ({"images": np.zeros((30, 8), np.uint8), "labels": LABELS}, r"shape \[30, 8\]"),
    ({"images": np.zeros((0, 8, 8), np.uint8), "labels": LABELS[:0]}, "shape"),
    ({"images": IMAGES, "labels": LABELS[:9]}, "9 rows for 30 images"),
    ({"images": IMAGES, "labels": LABELS / 2}, "labels is float64"),
    ({"images": IMAGES, "labels": np.stack([LABELS, LABELS], 1)}, "other values than 0 and 1"),
    ({"images": IMAGES, "labels": LABELS * 0}, "'0' as its only class"),
    ({"pictures": IMAGES, "labels": LABELS}, "Needed are images and labels"),
    ({"images": IMAGES, "labels": LABELS, "x_train": IMAGES, "y_train": LABELS}, "Needed are images and labels"),
    ({"images": IMAGES, "labels": LABELS.astype(object)}, "Python objects"),
])
def test_other_arrays_are_refused_with_advice(saved, arrays, message):
    with pytest.raises(DataError, match=message):
        open_source(saved(**arrays))


def test_a_cut_file_is_named(saved, tmp_path):
    data = Path(saved(images=IMAGES, labels=LABELS)).read_bytes()
    for length in (0, 10, len(data) // 2, len(data) - 1):
        (tmp_path / "cut.npz").write_bytes(data[:length])
        with pytest.raises(DataError, match=r"cut\.npz cannot be read"):
            open_source(str(tmp_path / "cut.npz"))


def test_a_header_that_promises_terabytes_takes_no_memory(tmp_path):
    header = io.BytesIO()
    np.lib.format.write_array_header_1_0(header, {"shape": (10**9, 100, 100), "fortran_order": False, "descr": "|u1"})
    labels = io.BytesIO()
    np.save(labels, LABELS)
    with zipfile.ZipFile(tmp_path / "bomb.npz", "w") as archive:
        archive.writestr("images.npy", header.getvalue() + b"1234")
        archive.writestr("labels.npy", labels.getvalue())
    with pytest.raises(DataError, match="its size does not fit"):
        open_source(str(tmp_path / "bomb.npz"))
