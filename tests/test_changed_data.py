"""A run that goes on wants the data that it began with, whatever kind of source they are."""

from __future__ import annotations

import shutil
import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from tiny import last, tiny_recipe, train

from vitrail.data.pack import pack
from vitrail.data.source import open_source
from vitrail.errors import DataError
from vitrail.events import Noted, Understood
from vitrail.training.checkpoint import State, newest_checkpoint, read_state

STEPS = {"schedule__steps": 4, "training__batch_size": 8}


def draw(folder: Path, count: int) -> Path:
    for number in range(count):
        path = folder / "photos" / ("cat", "dog")[number % 2] / f"{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.full((8, 8), 3 * number, np.uint8)).save(path)
    return folder / "photos"


def folder(place: Path, count: int) -> str:
    return str(draw(place, count))


def archive(place: Path, count: int) -> str:
    photos = draw(place, count)
    with zipfile.ZipFile(place / "photos.zip", "w") as opened:
        for file in sorted(photos.rglob("*.png")):
            opened.write(file, file.relative_to(photos))
    return str(place / "photos.zip")


def manifest(place: Path, count: int) -> str:
    photos = draw(place, count)
    rows = [f"{file},{file.parent.name}" for file in sorted(photos.rglob("*.png"))]
    (place / "labels.csv").write_text("\n".join(["path,label", *rows]))
    return str(place / "labels.csv")


def arrays(place: Path, count: int) -> str:
    np.savez(place / "arrays.npz", images=np.full((40, 8, 8), count, np.uint8), labels=np.arange(40) % 2)
    return str(place / "arrays.npz")


def idx(place: Path, count: int) -> str:
    (place / "idx").mkdir(exist_ok=True)
    images, labels = np.full((40, 8, 8), count, np.uint8), np.arange(40, dtype=np.uint8) % 2
    for name, magic, array in (("images-idx3", 0x803, images), ("labels-idx1", 0x801, labels)):
        header = np.array([magic, *array.shape], ">u4").tobytes()
        (place / "idx" / f"train-{name}-ubyte").write_bytes(header + array.tobytes())
    return str(place / "idx")


def shards(place: Path, count: int) -> str:
    shutil.rmtree(place / "packed", ignore_errors=True)
    pack(open_source(folder(place, count)), place / "packed")
    return f"shards:{place / 'packed'}"


@pytest.mark.fault("D10", "Data to which pictures were added since a run began are an error, for every kind of "
                   "source, unless --allow-data-change.")
@pytest.mark.parametrize("write", [folder, archive, manifest, arrays, idx, shards])
def test_other_data_are_an_error_unless_they_are_allowed(write, tmp_path):
    recipe = tiny_recipe(data__source=write(tmp_path, 40), **STEPS)
    began = open_source(recipe.data.source)
    train(recipe, tmp_path / "run", stop_after=2)
    checkpoint, _ = newest_checkpoint(tmp_path / "run" / "checkpoints")
    assert checkpoint is not None
    assert (read_state(checkpoint).data, read_state(checkpoint).classes) == (began.fingerprint, began.classes)
    write(tmp_path, 41)
    with pytest.raises(DataError, match=r"is not what it was when this run began.*--allow-data-change"):
        train(recipe, tmp_path / "run", resume=True)
    events = train(recipe, tmp_path / "run", resume=True, allow_data_change=True)
    assert last(events).steps == 4
    understood = next(event for event in events if isinstance(event, Understood))
    assert any("changed since this run began" in warning for warning in understood.warnings)
    assert not any(isinstance(event, Noted) and "replaced" in event.text for event in events)


@pytest.mark.fault("D10", "Another file in the place of one is noticed by its size; one of the same size is noticed "
                   "in arrays, IDX and shards, and not in folders, archives and manifests, whose bytes are not read "
                   "for that.")
def test_an_exchanged_file_is_noticed_by_its_size(tmp_path):
    recipe = tiny_recipe(data__source=folder(tmp_path, 40), **STEPS)
    before = open_source(recipe.data.source).fingerprint
    train(recipe, tmp_path / "run", stop_after=2)
    Image.fromarray(np.full((9, 9), 200, np.uint8)).save(tmp_path / "photos" / "cat" / "4.png", compress_level=0)
    with pytest.raises(DataError, match="is not what it was"):
        train(recipe, tmp_path / "run", resume=True)
    draw(tmp_path, 40)
    file = tmp_path / "photos" / "cat" / "4.png"
    content = bytearray(file.read_bytes())
    content[-1] ^= 1
    file.write_bytes(content)
    assert open_source(recipe.data.source).fingerprint == before


@pytest.mark.fault("D10", "The same data written again are no change.")
def test_the_same_data_are_no_change(tmp_path):
    recipe = tiny_recipe(data__source=shards(tmp_path, 40), **STEPS)
    train(recipe, tmp_path / "run", stop_after=2)
    shards(tmp_path, 40)  # packed again: the same bytes
    assert last(train(recipe, tmp_path / "run", resume=True)).steps == 4


@pytest.mark.fault("R8", "Other classes than those of the checkpoint are refused, whatever is allowed.")
def test_other_classes_are_never_allowed(tmp_path):
    recipe = tiny_recipe(data__source=folder(tmp_path, 40), **STEPS)
    train(recipe, tmp_path / "run", stop_after=2)
    (tmp_path / "photos" / "cat").rename(tmp_path / "photos" / "eel")
    with pytest.raises(DataError, match="has other classes than when this run began"):
        train(recipe, tmp_path / "run", resume=True, allow_data_change=True)


def test_a_checkpoint_that_does_not_know_its_data_goes_on(tmp_path, monkeypatch):
    """Runs of earlier versions."""
    recipe = tiny_recipe(data__source=folder(tmp_path, 40), **STEPS)
    monkeypatch.setattr("vitrail.run.training.State", lambda **fields: State(**{**fields, "data": "", "classes": ()}))
    train(recipe, tmp_path / "run", stop_after=2)
    draw(tmp_path, 41)
    assert last(train(recipe, tmp_path / "run", resume=True)).steps == 4


def test_a_run_goes_on_without_the_shard_that_was_lost(tmp_path):
    photos = folder(tmp_path, 80)
    pack(open_source(photos), tmp_path / "packed", shard_bytes=20_000)
    recipe = tiny_recipe(data__source=f"shards:{tmp_path}/packed", **STEPS)
    train(recipe, tmp_path / "run", stop_after=2)
    (tmp_path / "packed" / "train-000001.tar").unlink()
    with pytest.raises(DataError, match=r"train-000001\.tar is missing.*skip_bad_shards"):
        train(recipe, tmp_path / "run", resume=True)
    skipping = recipe.replaced({"data.skip_bad_shards": True})
    with pytest.raises(DataError, match="--allow-data-change"):
        train(skipping, tmp_path / "run", resume=True)
    assert last(train(skipping, tmp_path / "run", resume=True, allow_data_change=True)).steps == 4


@pytest.mark.fault("D10", "The same before the first checkpoint: a run that begins anew wants the data that it had.")
def test_data_that_change_before_the_first_checkpoint_are_an_error_too(tmp_path: Path) -> None:
    recipe = tiny_recipe(**STEPS, data__source=folder(tmp_path, 40))
    train(recipe, tmp_path / "run")
    for made in ("checkpoints", "bundle"):
        shutil.rmtree(tmp_path / "run" / made)
    folder(tmp_path, 41)
    with pytest.raises(DataError, match="is not what it was when this run began"):
        train(recipe, tmp_path / "run", resume=True)
    assert last(train(recipe, tmp_path / "run", resume=True, allow_data_change=True)).steps == 4
