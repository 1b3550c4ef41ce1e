"""Features are the model's own, are computed once, and never come from a cache that holds anything else."""

from __future__ import annotations

import os
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import vitrail
from vitrail.bundle import Bundle
from vitrail.data.preprocess import Preprocess
from vitrail.data.source import Source
from vitrail.errors import BundleError, DataError, UnknownNameError
from vitrail.evaluation.frozen import feature_cache
from vitrail.evaluation.frozen.feature_cache import ABOUT, VALUES, make_room
from vitrail.evaluation.frozen.features import Features, features


@pytest.fixture
def bundle() -> Bundle:
    torch.manual_seed(0)
    return Bundle(vitrail.create("mu/4", classes=10, image_size=8), Preprocess(size=8))


@pytest.fixture
def digits() -> Source:
    return vitrail.open_source("digits")


def of(bundle: Bundle, source: Source, cache: Path, **options) -> Features:
    return features(bundle, source, "test", rows=np.arange(30), cache=cache, **options)


def directly(bundle: Bundle, source: Source) -> torch.Tensor:
    split = source.splits["test"]
    raw = torch.stack([bundle.preprocess.read(split.read(row), "") for row in range(30)])
    with torch.no_grad():
        return bundle.model.eval().embed(bundle.preprocess.normalize(raw))


def never(*_, **__):
    raise AssertionError("computed again")


def test_they_are_what_the_head_reads(bundle, digits, tmp_path):
    bundle.model.train()  # as a run hands it over
    found = of(bundle, digits, tmp_path, batch_size=7)
    assert bundle.model.training
    assert found.values.dtype == np.float32
    np.testing.assert_allclose(found.values, directly(bundle, digits), rtol=1e-5, atol=1e-6)
    assert found.labels.tolist() == digits.splits["test"].labels[:30].tolist()


def test_the_second_time_they_come_from_the_disk(bundle, digits, tmp_path, monkeypatch):
    first = of(bundle, digits, tmp_path)
    monkeypatch.setattr(bundle.model, "embed", never)
    again = of(bundle, digits, tmp_path)
    assert isinstance(again.values, np.memmap)
    assert np.array_equal(first.values, again.values)
    assert not again.values.flags.writeable


def test_each_thing_that_they_depend_on_makes_others(bundle, digits, tmp_path):
    of(bundle, digits, tmp_path)
    with torch.no_grad():
        bundle.model.get_parameter("pool_norm.bias" if hasattr(bundle.model.pool_norm, "bias") else "norm.bias").add_(1)
    changed = of(bundle, digits, tmp_path)
    np.testing.assert_allclose(changed.values, directly(bundle, digits), rtol=1e-5, atol=1e-6)
    darker = replace(bundle, preprocess=Preprocess(size=8, mean=(0.2, 0.2, 0.2)))
    np.testing.assert_allclose(of(darker, digits, tmp_path).values, directly(darker, digits), rtol=1e-5, atol=1e-6)
    of(bundle, digits, tmp_path, layer="patches")
    of(bundle, replace(digits, fingerprint="other"), tmp_path)
    features(bundle, digits, "test", rows=np.arange(1, 31), cache=tmp_path)
    features(bundle, digits, "train", rows=np.arange(30), cache=tmp_path)
    assert len(list(tmp_path.iterdir())) == 7


def test_layers(bundle, digits, tmp_path):
    head, patches, both = (of(bundle, digits, tmp_path, layer=layer).values
                           for layer in ("embedding", "patches", "both"))
    assert np.array_equal(both, np.concatenate([head, patches], 1))
    assert not np.allclose(head, patches)
    with pytest.raises(UnknownNameError, match="Did you mean 'patches'"):
        of(bundle, digits, tmp_path, layer="patch")


@pytest.mark.parametrize("name", [VALUES, ABOUT, "manifest.json"])
@pytest.mark.parametrize("damage", ["cut", "flipped", "gone"])
def test_a_damaged_entry_is_computed_again(bundle, digits, tmp_path, name, damage):
    whole = np.array(of(bundle, digits, tmp_path).values)
    file = next(tmp_path.iterdir()) / name
    held = bytearray(file.read_bytes())
    held[len(held) // 2] ^= 1
    if damage == "gone":
        file.unlink()
    else:
        file.write_bytes(held[:-9] if damage == "cut" else held)
    assert np.array_equal(of(bundle, digits, tmp_path).values, whole)


def test_an_entry_of_something_else_is_not_taken(bundle, digits, tmp_path, monkeypatch):
    mine = np.array(of(bundle, digits, tmp_path).values)
    place = next(tmp_path.iterdir())
    of(bundle, digits, tmp_path, layer="patches")
    other = next(folder for folder in tmp_path.iterdir() if folder != place)
    mine_moved = tmp_path / "moved"
    place.rename(mine_moved)
    other.rename(place)  # complete, with right checksums, under the wrong name
    assert np.array_equal(of(bundle, digits, tmp_path).values, mine)


def test_a_folder_that_cannot_be_written_does_not_stop_anything(bundle, digits, tmp_path):
    (tmp_path / "file").write_text("no folder")
    found = of(bundle, digits, tmp_path / "file" / "cache")
    np.testing.assert_allclose(found.values, directly(bundle, digits), rtol=1e-5, atol=1e-6)


def test_stopped_in_the_middle_leaves_nothing(bundle, digits, tmp_path):
    def stop(progress):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        of(bundle, digits, tmp_path, progress=stop)
    assert list(tmp_path.iterdir()) == []


def test_progress_counts_every_picture(bundle, digits, tmp_path):
    seen = []
    of(bundle, digits, tmp_path, batch_size=8, progress=seen.append)
    assert [at.done for at in seen] == [8, 16, 24, 30]
    assert {at.total for at in seen} == {30}
    assert all(at.rate > 0 for at in seen)


def test_bad_pictures_are_named_and_never_replaced(bundle, tmp_path, monkeypatch):
    photos = tmp_path / "photos"
    for label in ("a", "b"):
        (photos / label).mkdir(parents=True)
        for number in range(4):
            pixels = np.full((8, 8, 3), 40 * number + (label == "b"), np.uint8)
            Image.fromarray(pixels).save(photos / label / f"{number}.png")
    (photos / "a" / "2.png").write_bytes(b"no picture")
    source = vitrail.open_source(photos, divide=False)
    for _ in range(2):  # computed, then recalled
        found = features(bundle, source, "test", cache=tmp_path / "cache")
        assert found.labels.tolist() == [0, 0, 0, 1, 1, 1, 1]
        assert [source.splits["test"].names[row] for row in found.rows] == [
            name for name in source.splits["test"].names if not name.endswith("a/2.png")]
        assert [Path(one.path).name for one in found.unread] == ["2.png"]
        assert len(found) == 7
        monkeypatch.setattr(bundle.model, "embed", never)


def test_no_readable_picture_and_no_picture_at_all(bundle, digits, tmp_path):
    (tmp_path / "photos" / "a").mkdir(parents=True)
    (tmp_path / "photos" / "a" / "1.png").write_bytes(b"no picture")
    source = vitrail.open_source(tmp_path / "photos", divide=False)
    with pytest.raises(DataError, match="None of the 1 images can be read"):
        features(bundle, source, "test", cache=tmp_path / "cache")
    with pytest.raises(DataError, match="is empty"):
        features(bundle, digits, "test", rows=np.arange(0), cache=tmp_path)


def test_features_that_are_not_finite_are_refused(bundle, digits, tmp_path):
    with torch.no_grad():
        next(bundle.model.parameters()).fill_(torch.nan)
    with pytest.raises(BundleError, match="not finite"):
        of(bundle, digits, tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_the_cache_stays_below_its_bound(bundle, digits, tmp_path, monkeypatch):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "kept.txt").write_text("not an entry")
    for number, layer in enumerate(("embedding", "patches", "both")):
        of(bundle, digits, tmp_path, layer=layer)
        for entry in tmp_path.iterdir():
            if (entry / VALUES).exists() and entry.stat().st_mtime > time.time() - 60:
                os.utime(entry, (number, number))
    of(bundle, digits, tmp_path)  # used again: the second is the oldest now
    monkeypatch.setattr(feature_cache, "MOST_BYTES", sum(
        file.stat().st_size for entry in tmp_path.iterdir() for file in entry.iterdir()) - 100)
    newest = next(entry for entry in tmp_path.iterdir() if entry.stat().st_mtime == 2)
    make_room(tmp_path, newest)
    held = [entry for entry in tmp_path.iterdir() if (entry / VALUES).exists()]
    assert len(held) == 2
    assert (tmp_path / "mine" / "kept.txt").exists()
    make_room(tmp_path, newest, most=0)
    assert [entry for entry in tmp_path.iterdir() if (entry / VALUES).exists()] == [newest]
