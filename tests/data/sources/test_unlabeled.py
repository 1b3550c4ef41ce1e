"""Pictures without labels: taken where none is needed, refused clearly where one is."""

from __future__ import annotations

import zipfile
from pathlib import Path

import numpy as np
import pytest

from vitrail.data.source import open_source
from vitrail.data.split import manifest_rows
from vitrail.errors import DataError


def counts(root: Path | str, **options: object) -> dict[str, int]:
    source = open_source(str(root), labeled=False, **options)  # type: ignore[arg-type]
    assert source.classes == ()
    assert all(not split.labels.any() for split in source.splits.values())
    assert {label for _, label, _ in manifest_rows(source)} == {""}
    return {name: len(split) for name, split in source.splits.items()}


def test_a_flat_folder_is_divided_at_random(plant):
    root = plant(*[f"{number}.png" for number in range(20)])
    assert counts(root) == {"train": 16, "val": 2, "test": 2}
    source = open_source(str(root), labeled=False)
    assert source.kind == "image folder without labels"
    assert "split by vitrail, at random" in source.notes[0]
    assert not source.warnings
    with pytest.raises(DataError, match=r"(?s)20 pictures and no class folders.*vitrail pretrain"):
        open_source(str(root))


def test_one_folder_and_pictures_beside_folders_are_no_classes(plant):
    assert counts(plant(holiday=10)) == {"train": 8, "val": 1, "test": 1}


def test_pictures_beside_class_folders_count_too(plant):
    assert sum(counts(plant("1.png", "cat/2.png", "dog/3.png", "dog/deep/er/4.png")).values()) == 4


def test_own_splits_stay(plant):
    root = plant("train/1.png", "train/2.png", "train/cat/3.png", "test/4.png", "other/5.png")
    source = open_source(str(root), labeled=False, validation=0)
    assert counts(root, validation=0) == {"train": 3, "test": 1}
    assert source.kind == "image folder with train/ and test/, without labels"
    assert "1 picture in other/ left out" in source.warnings[0]


def test_there_must_be_something_to_learn_from(plant):
    with pytest.raises(DataError, match="no training pictures"):
        open_source(str(plant("val/1.png", "test/2.png")), labeled=False)


def test_labels_that_are_there_keep_what_is_held_out_apart(plant):
    """What a later run with labels tests on has not been learned from."""
    root = str(plant(cat=20, dog=30))
    free, labeled = open_source(root, labeled=False), open_source(root)
    assert free.classes == labeled.classes
    assert all(np.array_equal(free.splits[name].names, labeled.splits[name].names) for name in labeled.splits)


def test_an_archive_needs_no_class_folders_either(plant, tmp_path):
    root = plant(*[f"{number}.png" for number in range(10)])
    with zipfile.ZipFile(tmp_path / "flat.zip", "w") as archive:
        for path in root.rglob("*.png"):
            archive.write(path, path.name)
    assert counts(tmp_path / "flat.zip") == {"train": 8, "val": 1, "test": 1}
