"""Weights in several files with an index, and indexes that lie."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from huggingface.peers import peer_of
from safetensors.torch import load_file, save_file

from vitrail import weights
from vitrail.errors import BundleError

INDEX = "model.safetensors.index.json"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    peer_of("vit").save_pretrained(tmp_path / "whole")
    peer_of("vit").save_pretrained(tmp_path / "sharded", max_shard_size="8KB")
    assert len(list((tmp_path / "sharded").glob("*.safetensors"))) > 2
    return tmp_path / "sharded"


def change_index(folder: Path, change: Callable[[dict[str, Any]], object]) -> None:
    index = json.loads((folder / INDEX).read_text())
    change(index["weight_map"])
    (folder / INDEX).write_text(json.dumps(index))


def test_several_files_are_one(folder: Path) -> None:
    whole = weights.load(folder.parent / "whole").model.state_dict()
    for path in (folder, folder / INDEX):
        bundle = weights.load(path)
        assert bundle.provenance["file"] == INDEX
        assert all(torch.equal(value, whole[name]) for name, value in bundle.model.state_dict().items())


def test_files_may_be_links_as_in_the_cache_of_the_hub(folder: Path) -> None:
    for path in sorted(folder.glob("*.safetensors")):
        path.rename(folder.parent / f"blob-{path.name}")
        os.symlink(folder.parent / f"blob-{path.name}", path)
    weights.load(folder)


@pytest.mark.parametrize("name", ["../whole/model.safetensors", "sub/model.safetensors", "..", "", ".",
                                  "C:\\model.safetensors", "model-00009-of-00009.safetensors", "\0"])
def test_an_index_names_files_beside_it_only(folder: Path, name: str) -> None:
    change_index(folder, lambda said: said.update({"classifier.bias": name}))
    with pytest.raises(BundleError, match="which is not beside it"):
        weights.load(folder)


def test_an_absolute_path_is_refused(folder: Path) -> None:
    change_index(folder, lambda said: said.update({"classifier.bias": str(folder / "model.safetensors")}))
    with pytest.raises(BundleError, match="which is not beside it"):
        weights.load(folder)


@pytest.mark.parametrize("change", [
    lambda said: said.pop("classifier.bias"),
    lambda said: said.update({"gate.weight": said["classifier.bias"]}),
    lambda said: said.update({"classifier.bias": next(name for name in said.values()
                                                      if name != said["classifier.bias"])}),
], ids=["not listed", "not held", "in another file"])
def test_index_and_files_have_to_agree(folder: Path, change: Callable[[dict[str, Any]], object]) -> None:
    change_index(folder, change)
    with pytest.raises(BundleError, match="do not agree"):
        weights.load(folder)


def test_a_tensor_in_two_files_is_refused(folder: Path) -> None:
    files = sorted(folder.glob("*.safetensors"))
    first, *_ = load_file(files[0]).items()
    save_file(load_file(files[-1]) | dict([first]), files[-1])
    with pytest.raises(BundleError, match="do not agree"):
        weights.load(folder)


@pytest.mark.parametrize("text", ["", "[]", "{}", "{" * 5000, '{"weight_map": []}', '{"weight_map": {"a": 1}}',
                                  '{"weight_map": null}'])
def test_an_index_that_is_none(folder: Path, text: str) -> None:
    (folder / INDEX).write_text(text)
    with pytest.raises(BundleError, match="no 'weight_map'"):
        weights.load(folder)


def test_a_damaged_shard_is_refused(folder: Path) -> None:
    path = sorted(folder.glob("*.safetensors"))[0]
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(BundleError, match="cannot be read as safetensors"):
        weights.load(folder)
