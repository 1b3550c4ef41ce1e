"""`open_source`: recognition, clear errors, and what is true of every kind of source."""

from __future__ import annotations

import pickle
import subprocess
import sys
import zipfile

import numpy as np
import pytest

from vitrail.data.source import SPLITS, open_source
from vitrail.data.sources import SOURCE_KINDS
from vitrail.data.split import manifest_rows
from vitrail.errors import DataError, UnknownNameError, UsageError


@pytest.fixture
def examples(tmp_path):
    """One small source of each kind in the registry, by its name there."""
    names = [f"{label}/{row}.png" for label in ("cat", "dog") for row in range(5)]
    for name in names:
        (tmp_path / "folder" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "folder" / name).write_bytes(f"picture {name}".encode())
    with zipfile.ZipFile(tmp_path / "archive.zip", "w") as archive:
        for name in names:
            archive.writestr(name, f"picture {name}")
    rows = [f"folder/{name},{name.split('/')[0]}" for name in names]
    (tmp_path / "manifest.csv").write_text("\n".join(["path,label", *rows]))
    images, labels = np.arange(160, dtype=np.uint8).reshape(10, 4, 4), np.arange(10, dtype=np.uint8) % 2
    np.savez(tmp_path / "arrays.npz", images=images, labels=labels)
    (tmp_path / "idx").mkdir()
    for name, magic, array in (("images-idx3", 0x803, images), ("labels-idx1", 0x801, labels)):
        header = np.array([magic, *array.shape], ">u4").tobytes()
        (tmp_path / "idx" / f"train-{name}-ubyte").write_bytes(header + array.tobytes())
    paths = {name: str(tmp_path / name) for name in ("folder", "idx")}
    return {"fashion": "fashion:embedded", "digits": "digits", **paths, "archive": str(tmp_path / "archive.zip"),
            "manifest": str(tmp_path / "manifest.csv"), "arrays": str(tmp_path / "arrays.npz")}


@pytest.mark.parametrize("kind", SOURCE_KINDS)
def test_every_kind_of_source_keeps_the_contract(kind, examples):
    source = open_source(examples[kind], seed=3, validation=0.2)
    assert source.spec == examples[kind]
    assert source.kind
    assert len(source.fingerprint) == 64
    assert list(source.splits) == list(SPLITS)
    names = [name for split in source.splits.values() for name in split.names]
    assert len(set(names)) == len(names) == len(manifest_rows(source))
    for split in source.splits.values():
        assert len(split) == len(split.names) == len(split.labels)
        assert split.labels.dtype == np.int64
        assert set(split.labels.tolist()) == set(range(len(source.classes)))
        picture = split.read(len(split) - 1)
        assert isinstance(picture, bytes) or picture.dtype == np.uint8
    part = source.splits["train"].subset(np.array([2, 0]))
    again = pickle.loads(pickle.dumps(part))
    assert again.names == [source.splits["train"].names[2], source.splits["train"].names[0]]
    assert np.array_equal(np.asarray(again.read(0)), np.asarray(source.splits["train"].read(2)))


@pytest.mark.parametrize("kind", SOURCE_KINDS)
def test_the_same_seed_gives_the_same_source(kind, examples):
    first, second, other = (open_source(examples[kind], seed=seed) for seed in (0, 0, 1))
    assert first.fingerprint == second.fingerprint != other.fingerprint
    assert [split.names for split in first.splits.values()] == [split.names for split in second.splits.values()]


@pytest.mark.parametrize("kind", SOURCE_KINDS)
def test_a_source_can_stay_undivided_for_evaluation(kind, examples):
    source = open_source(examples[kind], divide=False)
    assert "val" not in source.splits
    assert sum(map(len, source.splits.values())) == sum(map(len, open_source(examples[kind]).splits.values()))


@pytest.mark.parametrize("kind", SOURCE_KINDS)
def test_classes_of_a_model_give_the_indices(kind, examples):
    plain = open_source(examples[kind], divide=False)
    turned = open_source(examples[kind], divide=False, classes=[*reversed(plain.classes), "more"])
    for name, split in plain.splits.items():
        assert (turned.splits[name].labels == len(plain.classes) - 1 - split.labels).all()


@pytest.mark.parametrize(("spec", "error", "message"), [
    ("fashon", UnknownNameError, "Did you mean 'fashion'"),
    ("digit", UnknownNameError, "Did you mean 'digits'"),
    ("https://example.org/x.zip", UsageError, "nothing is fetched"),
    ("s3://bucket/x", UsageError, "nothing is fetched"),
    ("hf:owner/name", UsageError, "not supported yet"),
    ("shards:a-{0..9}.tar", UsageError, "not supported yet"),
    ("nowhere/photos", DataError, "There is no file or folder 'nowhere/photos'"),
    ("missing.zip", DataError, "There is no file or folder 'missing.zip'"),
    ("", UsageError, "No source was given"),
    ("x" * 5000, DataError, "cannot be looked at: File name too long"),
])
def test_what_cannot_be_opened_is_explained(spec, error, message):
    with pytest.raises(error, match=message):
        open_source(spec)


def test_the_nearest_name_beside_a_missing_one_is_given(tmp_path):
    (tmp_path / "flowers").mkdir()
    with pytest.raises(DataError, match=r"Did you mean '.*/flowers'.*A source is one of: fashion; digits; ") as caught:
        open_source(str(tmp_path / "flower"))
    assert caught.value.exit_code == 3


def test_a_file_of_another_kind_is_a_usage_error(tmp_path):
    (tmp_path / "photo.png").write_bytes(b"picture")
    with pytest.raises(UsageError, match="is no source that vitrail can open"):
        open_source(str(tmp_path / "photo.png"))


@pytest.mark.parametrize("validation", [-0.1, 0.95])
def test_a_share_that_makes_no_sense_is_a_usage_error(validation):
    with pytest.raises(UsageError, match="validation"):
        open_source("digits", validation=validation)


def test_opening_a_source_imports_no_torch():
    program = """import sys
from vitrail.data.source import open_source
open_source("digits")
print("torch" in sys.modules)"""
    result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "False"
