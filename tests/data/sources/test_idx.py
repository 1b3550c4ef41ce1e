"""IDX folders: labels, gzip, and headers that do not fit their file."""

from __future__ import annotations

import gzip
import struct
from pathlib import Path

import numpy as np
import pytest

from vitrail.data.source import open_source
from vitrail.errors import DataError


def write(folder: Path, name: str, magic: int, array: np.ndarray, cut: int = 0) -> None:
    header = struct.pack(f">{1 + array.ndim}I", magic, *array.shape)
    data = (header + array.astype(np.uint8).tobytes())[:-cut or None]
    (folder / name).write_bytes(gzip.compress(data) if name.endswith(".gz") else data)


@pytest.fixture(params=["", ".gz"])
def folder(request, tmp_path):
    """12 training and 6 test pictures of 3 x 4; picture i of each has the label i % 3 and the value i everywhere."""
    for split, count in (("train", 12), ("t10k", 6)):
        images = np.broadcast_to(np.arange(count)[:, None, None], (count, 3, 4))
        write(tmp_path, f"{split}-images-idx3-ubyte{request.param}", 0x803, images)
        write(tmp_path, f"{split}-labels-idx1-ubyte{request.param}", 0x801, np.arange(count) % 3)
    return tmp_path


def test_pictures_and_labels_belong_together(folder):
    source = open_source(str(folder), validation=0)
    assert source.classes == ("0", "1", "2")
    assert {name: len(split) for name, split in source.splits.items()} == {"train": 12, "test": 6}
    for split in source.splits.values():
        for row in range(len(split)):
            assert (split.read(row) == np.full((3, 4), row)).all()
            assert split.labels[row] == row % 3


def test_subsets_read_the_right_pictures(folder):
    split = open_source(str(folder), validation=0).splits["test"].subset(np.array([4, 1]))
    assert split.read(0)[0, 0] == 4
    assert split.labels.tolist() == [1, 1]


def test_classes_are_ordered_as_numbers(tmp_path):
    write(tmp_path, "train-images.idx3-ubyte", 0x803, np.zeros((33, 2, 2)))
    write(tmp_path, "train-labels.idx1-ubyte", 0x801, np.arange(33) % 11)
    assert open_source(str(tmp_path)).classes == tuple(map(str, range(11)))


@pytest.mark.parametrize(("name", "magic", "array", "cut", "message"), [
    ("train-images-idx3-ubyte", 0x801, np.zeros((12, 3, 4)), 0, "0x00000801 was found, 0x00000803 is needed"),
    ("train-images-idx3-ubyte", 0x803, np.zeros((12, 3, 4)), 1, "cut short"),
    ("train-images-idx3-ubyte", 0x803, np.zeros((12, 3, 4)), 150, "does not begin as an IDX file"),
    ("train-images-idx3-ubyte", 0x803, np.zeros((11, 3, 4)), 0, "11 train images but 12 labels"),
    ("train-images-idx3-ubyte", 0x803, np.zeros((0, 3, 4)), 0, "cut short"),
    ("train-labels-idx1-ubyte", 0x801, np.zeros(12), 3, "cut short"),
    ("train-images-idx3-ubyte", 0x803, np.zeros((12, 3, 5)), 0, "different sizes"),
])
def test_files_that_do_not_fit_are_named(folder, name, magic, array, cut, message):
    suffix = next(folder.glob("train-images*")).suffix
    write(folder, name + suffix, magic, array, cut)
    with pytest.raises(DataError, match=message):
        open_source(str(folder))


@pytest.mark.parametrize("suffix", ["", ".gz"])
def test_a_header_that_promises_terabytes_takes_no_memory(folder, suffix):
    data = struct.pack(">4I", 0x803, 2**31, 2**16, 2**16) + b"1234"
    for file in folder.glob("train-images*"):
        file.unlink()
    (folder / f"train-images-idx3-ubyte{suffix}").write_bytes(gzip.compress(data) if suffix else data)
    with pytest.raises(DataError, match="by its header"):
        open_source(str(folder))


def test_a_missing_file_and_a_broken_gzip_are_named(folder):
    next(folder.glob("t10k-labels*")).unlink()
    with pytest.raises(DataError, match=r"t10k-images.* but not the labels"):
        open_source(str(folder))
    for file in folder.glob("t10k*"):
        file.unlink()
    for file in folder.glob("train-labels*.gz"):
        file.write_bytes(file.read_bytes()[:-9])
        with pytest.raises(DataError, match="cannot be read"):
            open_source(str(folder))


def test_a_test_label_that_train_lacks_is_an_error(folder):
    suffix = next(folder.glob("t10k-labels*")).suffix
    write(folder, f"t10k-labels-idx1-ubyte{suffix}", 0x801, np.array([0, 1, 2, 7, 0, 1]))
    with pytest.raises(DataError, match="train lacks: '7'"):
        open_source(str(folder))
