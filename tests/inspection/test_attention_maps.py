from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from tiny_models import pictures, tiny, without_keys

from vitrail.bundle import Bundle
from vitrail.data.preprocess import Preprocess
from vitrail.errors import UsageError
from vitrail.inspection import attention_maps, record
from vitrail.models import create


def bundle_of(**overrides: object) -> Bundle:
    return Bundle(tiny(**overrides), Preprocess(size=(12, 8)))


@pytest.mark.parametrize("registers", [0, 2])
def test_uniform_attention_of_the_class_token(registers: int) -> None:
    maps = attention_maps(without_keys(bundle_of(registers=registers)), pictures())
    assert maps.layers.shape == (3, 2, 3, 2)
    assert maps.heads[-1].shape == (2, 2, 3, 2)
    assert maps.layers == pytest.approx(np.full((3, 2, 3, 2), 1 / (7 + registers)))
    assert maps.asked_by == "the class token"
    assert maps.pooling is None


def test_without_a_class_token_it_is_the_mean_over_the_patches() -> None:
    bundle = bundle_of(pooling="mean", registers=1)
    maps = attention_maps(bundle, pictures())
    with record(bundle.model) as trace:
        bundle.logits(pictures())
    weights = trace["encoder.blocks.2.attention.core"].weights().numpy()
    expected = weights[:, :, 1:, 1:].mean(2).reshape(2, 2, 3, 2)  # [batch, heads, rows, columns]
    assert maps.heads[-1] == pytest.approx(expected, abs=1e-6)
    assert maps.layers[2] == pytest.approx(expected.mean(1), abs=1e-6)
    assert "mean" in maps.asked_by


def test_attention_pooling_has_a_map_of_its_own() -> None:
    bundle = bundle_of(pooling="attention")
    maps = attention_maps(bundle, pictures())
    assert maps.pooling is not None
    assert maps.pooling.shape == (2, 3, 2)
    assert maps.pooling.sum((1, 2)) == pytest.approx(np.ones(2), abs=1e-5)
    with torch.no_grad():
        bundle.model.pool.key_value.weight.zero_()  # type: ignore[union-attr, operator]
    uniform = attention_maps(bundle, pictures()).pooling
    assert uniform == pytest.approx(np.full((2, 3, 2), 1 / 6))


def test_the_class_token_finds_the_patch_whose_key_matches() -> None:
    """Only the patch at row 2, column 1 is bright, and keys are made to measure brightness."""
    bundle = bundle_of(depth=1, positions="none")
    model = bundle.model
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.zero_()
        model.patchify.weight[0].fill_(1.0)  # the first number of a token is its brightness
        model.patchify.weight[1].fill_(-1.0)  # the second its opposite, so that the norm keeps both
        model.prefix.class_token[0, 2] = 1.0
        block = model.encoder.blocks[0]
        block.norm1.weight.fill_(1.0)  # type: ignore[union-attr, operator]
        qkv = block.attention.qkv  # type: ignore[union-attr]
        qkv.weight[0, 2], qkv.weight[8, 2] = 9.0, 9.0  # type: ignore[index, operator]
        qkv.weight[16, 0], qkv.weight[24, 0] = 9.0, 9.0  # type: ignore[index, operator]
    raw = torch.full((1, 3, 12, 8), 0, dtype=torch.uint8)
    raw[:, :, 8:, 4:] = 255
    maps = attention_maps(bundle, raw)
    assert maps.layers[0, 0].argmax() == 5
    assert maps.layers[0, 0, 2, 1] > 0.99


@pytest.mark.parametrize("settings", [{"registers": 1}, {"pooling": "mean"}])
def test_the_attention_of_one_patch(settings: dict[str, object]) -> None:
    bundle = bundle_of(**settings)
    prefix = bundle.model.config.prefix  # type: ignore[union-attr]
    maps = attention_maps(bundle, pictures(), place=(2, 1))
    with record(bundle.model) as trace:
        bundle.logits(pictures())
    weights = trace["encoder.blocks.1.attention.core"].weights()[:, :, prefix + 5, prefix:].numpy()
    assert maps.heads[1] == pytest.approx(weights.reshape(2, 2, 3, 2), abs=1e-6)
    assert maps.asked_by == "the patch in row 2, column 1"


@pytest.mark.parametrize("place", [(3, 0), (0, 2), (-1, 0)])
def test_a_place_outside_of_the_grid(place: tuple[int, int]) -> None:
    with pytest.raises(UsageError, match="rows are 0 to 2, columns 0 to 1"):
        attention_maps(bundle_of(), pictures(), place=place)


def test_the_attention_of_one_patch_of_an_axial_model() -> None:
    """The mean over all places is the mean of the maps."""
    bundle = axial()
    every = [attention_maps(bundle, pictures(), place=(row, column)).heads for row in range(3) for column in range(2)]
    assert np.mean(every, 0) == pytest.approx(attention_maps(bundle, pictures()).heads, abs=1e-6)
    assert every[0].sum((-1, -2)) == pytest.approx(np.ones((2, 2, 2)), abs=1e-5)


def test_another_image_size_has_another_grid() -> None:
    bundle = Bundle(tiny(), Preprocess(size=(16, 16)))
    raw = torch.zeros(1, 3, 16, 16, dtype=torch.uint8)
    assert attention_maps(bundle, raw).layers.shape == (3, 1, 4, 4)


def axial(**overrides: object) -> Bundle:
    torch.manual_seed(0)
    settings: dict[str, Any] = {"image_size": (12, 8), "width": 16, "depth": 2, "heads": 2, "mlp": 32} | overrides
    model = create("axial-mu/4", classes=3, **settings)
    for block in model.encoder.blocks:  # type: ignore[union-attr]
        for half in (block.row, block.column):  # type: ignore[union-attr]
            torch.nn.init.normal_(half.attention.qkv.weight)  # type: ignore[union-attr, arg-type]
    return Bundle(model.eval(), Preprocess(size=(12, 8)))


def test_a_block_of_an_axial_model_sees_through_rows_and_then_columns() -> None:
    """Both layers as attention among all six patches, one after the other, averaged over who asks."""
    bundle = axial()
    maps = attention_maps(bundle, pictures())
    with record(bundle.model) as trace:
        bundle.logits(pictures())
    expected = np.zeros((2, 2, 6))
    for image in range(2):
        rows, columns = np.zeros((6, 6)), np.zeros((2, 6, 6))
        for row in range(3):
            places = np.arange(2) + 2 * row
            weights = trace["encoder.blocks.1.row.attention.core"].weights().numpy()[3 * image + row]
            rows[np.ix_(places, places)] = weights.mean(0)
        for column in range(2):
            places = np.arange(3) * 2 + column
            weights = trace["encoder.blocks.1.column.attention.core"].weights().numpy()[2 * image + column]
            for head in range(2):
                columns[head][np.ix_(places, places)] = weights[head]
        expected[image] = (columns @ rows).mean(1)
    assert maps.heads[-1] == pytest.approx(expected.reshape(2, 2, 3, 2), abs=1e-6)
    assert maps.layers[1] == pytest.approx(expected.mean(1).reshape(2, 3, 2), abs=1e-6)
    assert maps.layers.sum((2, 3)) == pytest.approx(np.ones((2, 2)), abs=1e-5)
    assert maps.layers[1].std() > 0.01
    assert maps.asked_by == "the mean over all patches, through rows and then columns,"


def test_an_axial_model_that_pools_by_attention_has_that_map_too() -> None:
    pooling = attention_maps(axial(pooling="attention"), pictures()).pooling
    assert pooling is not None
    assert pooling.sum((1, 2)) == pytest.approx(np.ones(2), abs=1e-5)


@pytest.mark.parametrize(("name", "why"), [("R26x0.25", "convolutions only"), ("axial-R26x0.25", "maps of many sizes")])
def test_a_resnet_has_none_and_says_so(name: str, why: str) -> None:
    bundle = Bundle(create(name, image_size=16, depths=(1,)).eval(), Preprocess(size=(16, 16)))
    with pytest.raises(UsageError, match=f"has no attention to look at.*{why}"):
        attention_maps(bundle, torch.zeros(1, 3, 16, 16, dtype=torch.uint8))


def test_a_hybrids_map_is_on_its_grid() -> None:
    bundle = Bundle(create("R26x0.25+mu/4", image_size=(16, 8)).eval(), Preprocess(size=(16, 8)))
    assert attention_maps(bundle, torch.zeros(1, 3, 16, 8, dtype=torch.uint8)).layers.shape == (1, 1, 4, 2)
