"""`open_source`: recognition, clear errors, and what is true of every kind of source."""

from __future__ import annotations

import importlib.util
import io
import json
import pickle
import subprocess
import sys
import tarfile
import zipfile

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from vitrail.data.source import SPLITS, open_source
from vitrail.data.sources import SOURCE_KINDS
from vitrail.data.split import manifest_rows
from vitrail.errors import DataError, UnknownNameError, UsageError

KINDS = [kind if kind != "hub" else pytest.param(kind, marks=pytest.mark.skipif(
    importlib.util.find_spec("datasets") is None, reason="hf: needs vitrail[hub]")) for kind in SOURCE_KINDS]


def write_shard(path):
    with tarfile.open(path, "w") as archive:
        for number in range(10):
            for ending, content in (("png", b"picture %d" % number), ("cls", b"%d" % (number % 2))):
                info = tarfile.TarInfo(f"{number}.{ending}")
                info.size = len(content)
                archive.addfile(info, io.BytesIO(content))


def write_hub(folder):
    """A data set of the hub, written without its library: what is known of the columns stands in the schema."""
    kinds = {"image": {"_type": "Image"}, "label": {"names": ["cat", "dog"], "_type": "ClassLabel"}}
    table = pa.table({"image": [{"bytes": b"picture %d" % number, "path": None} for number in range(10)],
                      "label": pa.array([number % 2 for number in range(10)], pa.int64())})
    table = table.cast(pa.schema([("image", pa.struct([("bytes", pa.binary()), ("path", pa.string())])),
                                  ("label", pa.int64())]))
    folder.mkdir()
    pq.write_table(table.replace_schema_metadata({"huggingface": json.dumps({"info": {"features": kinds}})}),
                   folder / "train.parquet")
    return f"hf:{folder}"


@pytest.fixture
def examples(tmp_path, monkeypatch):
    """One small source of each kind in the registry, by its name there."""
    monkeypatch.setenv("VITRAIL_HOME", str(tmp_path / "home"))
    if "datasets" in sys.modules:
        monkeypatch.setattr(sys.modules["datasets"].config, "HF_DATASETS_CACHE", tmp_path / "cache")
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
    write_shard(tmp_path / "shard.tar")
    paths = {name: str(tmp_path / name) for name in ("folder", "idx")}
    return {"shards": f"shards:{tmp_path / 'shard.tar'}", "hub": write_hub(tmp_path / "hub"),
            "fashion": "fashion:embedded", "digits": "digits", **paths, "archive": str(tmp_path / "archive.zip"),
            "manifest": str(tmp_path / "manifest.csv"), "arrays": str(tmp_path / "arrays.npz")}


@pytest.mark.parametrize("kind", KINDS)
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


@pytest.mark.parametrize("kind", KINDS)
def test_the_same_seed_gives_the_same_source(kind, examples):
    first, second, other = (open_source(examples[kind], seed=seed) for seed in (0, 0, 1))
    assert first.fingerprint == second.fingerprint != other.fingerprint
    assert [split.names for split in first.splits.values()] == [split.names for split in second.splits.values()]


@pytest.mark.parametrize("kind", KINDS)
def test_a_source_can_stay_undivided_for_evaluation(kind, examples):
    source = open_source(examples[kind], divide=False)
    assert "val" not in source.splits
    assert sum(map(len, source.splits.values())) == sum(map(len, open_source(examples[kind]).splits.values()))


@pytest.mark.parametrize("kind", KINDS)
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
    ("shards:a-{0..9}.tar", DataError, "10 of 10 shards cannot be used: a-0.tar is missing"),
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


def test_a_fraction_of_train_leaves_what_is_held_out_whole() -> None:
    whole, half, tenth = (open_source("digits", fraction=share, fraction_seed=3) for share in (1.0, 0.5, 0.1))
    assert half.splits["val"].keys.tolist() == whole.splits["val"].keys.tolist()
    assert half.splits["test"].keys.tolist() == whole.splits["test"].keys.tolist()
    assert set(tenth.splits["train"].names) < set(half.splits["train"].names) < set(whole.splits["train"].names)
    assert abs(len(half.splits["train"]) - len(whole.splits["train"]) / 2) < 6
    assert f"{len(tenth.splits['train'])} of" in tenth.notes[-1]
    assert set(tenth.splits["train"].labels.tolist()) == set(range(10))
