"""Pictures without labels: taken where none is needed, refused clearly where one is."""

from __future__ import annotations

import json
import tarfile
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


def written(path: Path, rows: list[dict[str, str]]) -> Path:
    """The same rows as CSV, JSON Lines or Parquet."""
    if path.suffix == ".csv":
        path.write_text("\n".join([",".join(rows[0]), *(",".join(row.values()) for row in rows)]))
    elif path.suffix == ".jsonl":
        path.write_text("\n".join(map(json.dumps, rows)))
    else:
        import pyarrow.parquet

        pyarrow.parquet.write_table(pyarrow.Table.from_pylist(rows), path)
    return path


@pytest.mark.parametrize("suffix", [".csv", ".jsonl", ".parquet"])
def test_a_manifest_needs_no_labels(plant, suffix):
    root = plant(*[f"{number}.png" for number in range(20)])
    paths = [f"{number}.png" for number in range(20)]
    bare = written(root / f"bare{suffix}", [{"path": path} for path in paths])
    assert counts(bare) == {"train": 16, "val": 2, "test": 2}
    assert open_source(bare, labeled=False).kind == f"manifest ({suffix[1:]}, without labels)"
    with pytest.raises(DataError, match=r"no column 'label'.*vitrail pretrain"):
        open_source(bare)
    split = written(root / f"split{suffix}", [
        {"path": path, "split": "test" if place < 5 else "train"} for place, path in enumerate(paths)])
    assert counts(split, validation=0) == {"train": 15, "test": 5}


def test_a_manifest_with_a_label_missing_has_none_where_none_is_needed(plant):
    root = plant(*[f"{number}.png" for number in range(10)])
    some = [{"path": f"{number}.png", "label": "" if number == 3 else "cat" if number % 2 else "dog"}
            for number in range(10)]
    path = written(root / "some.csv", some)
    assert counts(path) == {"train": 8, "val": 1, "test": 1}
    with pytest.raises(DataError, match="row 5 has no label"):
        open_source(path)
    whole = written(root / "whole.csv", [row | {"label": row["label"] or "dog"} for row in some])
    assert open_source(whole, labeled=False).classes == ("cat", "dog")


def test_arrays_need_no_labels(tmp_path):
    images = np.random.default_rng(0).integers(0, 256, (20, 8, 8), np.uint8)
    np.savez(tmp_path / "one.npz", images=images)
    assert counts(tmp_path / "one.npz") == {"train": 16, "val": 2, "test": 2}
    with pytest.raises(DataError, match=r"has the arrays images uint8.*vitrail pretrain"):
        open_source(tmp_path / "one.npz")
    np.savez(tmp_path / "two.npz", x_train=images, x_test=images[:5] // 2, y_test=np.arange(5))
    assert counts(tmp_path / "two.npz", validation=0) == {"train": 20, "test": 5}
    np.savez(tmp_path / "labels.npz", images=images, labels=np.arange(20) % 2)
    assert open_source(tmp_path / "labels.npz", labeled=False).classes == ("0", "1")


def test_shards_without_labels_are_refused_with_a_way_out(plant, tmp_path):
    root = plant(*[f"{number}.png" for number in range(4)])
    with tarfile.open(tmp_path / "bare-0.tar", "w") as shard:
        for path in sorted(root.rglob("*.png")):
            shard.add(path, path.name)
    with pytest.raises(DataError, match="Learn from a folder, an archive, a manifest"):
        open_source(f"shards:{tmp_path}/bare-*.tar", labeled=False)
