from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.spatial.distance import cdist
from tiny_models import pictures, tiny, without_keys

from vitrail.bundle import Bundle
from vitrail.data.preprocess import Preprocess
from vitrail.errors import NothingToSeeError
from vitrail.inspection import attention_distance, record
from vitrail.inspection.lens import encoded
from vitrail.models import create

PLACES = np.array([(4 * row, 4 * column) for row in range(3) for column in range(2)])
APART = cdist(PLACES, PLACES)


def bundle_of(**overrides: object) -> Bundle:
    return Bundle(tiny(**overrides), Preprocess(size=(12, 8)))


@pytest.mark.parametrize("settings", [{}, {"registers": 2}, {"pooling": "mean"}, {"pooling": "attention"}])
def test_uniform_attention_has_the_mean_distance_of_the_grid(settings: dict[str, object]) -> None:
    far = attention_distance(without_keys(bundle_of(**settings)), pictures(3), batch_size=2)
    assert far.pixels.shape == (3, 2, 3)
    assert far.layers == ("1", "2", "3")
    assert far.pixels == pytest.approx(np.full((3, 2, 3), APART.mean()), rel=1e-5)
    assert far.even == pytest.approx(np.full(3, APART.mean()), rel=1e-6)


def test_attention_to_itself_only_has_distance_zero() -> None:
    """Every place has a direction of its own, and queries and keys measure it."""
    bundle = bundle_of(depth=1, heads=1, positions="learned")
    model = bundle.model
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.zero_()
        model.encoder.positions.tables[0].table.copy_(torch.eye(6, 16))  # type: ignore[operator, union-attr]
        block = model.encoder.blocks[0]
        block.norm1.weight.fill_(1.0)  # type: ignore[union-attr, operator]
        block.attention.qkv.weight[:32] = 40 * torch.eye(16).repeat(2, 1)  # type: ignore[index, union-attr]
    assert attention_distance(bundle, pictures()).pixels == pytest.approx(np.zeros((1, 1, 2)), abs=1e-6)


@pytest.mark.parametrize("positions", ["learned", "relative", "relative-bias", "rotary-2d"])
def test_agrees_with_numpy_for_every_kind_of_positions(positions: str) -> None:
    bundle = bundle_of(positions=positions, registers=1)
    with record(bundle.model) as trace:
        encoded(bundle, pictures())
    far = attention_distance(bundle, pictures(), batch_size=1).pixels
    for layer, recorded in enumerate(trace.values()):
        weights = recorded.weights().double().numpy()[:, :, 2:, 2:]
        weights /= weights.sum(-1, keepdims=True)
        assert far[layer] == pytest.approx((weights * APART).sum(-1).mean(-1).T, abs=1e-5)


def test_patches_that_are_no_squares() -> None:
    bundle = Bundle(tiny(patch=(2, 4), image_size=(4, 8), pooling="mean"), Preprocess(size=(4, 8)))
    far = attention_distance(without_keys(bundle), pictures(1, (4, 8)))
    assert far.even[0] == pytest.approx((2 + 4 + np.hypot(2, 4)) / 4)


def test_an_axial_model_has_two_layers_a_block() -> None:
    model = create("axial-mu/4", image_size=(12, 8), width=16, depth=2, heads=2, mlp=32, classes=3).eval()
    for block in model.encoder.blocks:  # type: ignore[union-attr]
        for half in (block.row, block.column):  # type: ignore[union-attr]
            torch.nn.init.zeros_(half.attention.qkv.weight)  # type: ignore[union-attr, arg-type]
    far = attention_distance(Bundle(model, Preprocess(size=(12, 8))), pictures())
    assert far.layers == ("1, rows", "1, columns", "2, rows", "2, columns")
    assert far.pixels[0] == pytest.approx(np.full((2, 2), 2.0))  # 0 or 4, of two patches in a row
    assert far.pixels[1] == pytest.approx(np.full((2, 2), (4 * 4 + 2 * 8) / 9))
    assert far.even == pytest.approx([2, 32 / 9, 2, 32 / 9])


def test_another_size_and_bf16() -> None:
    bundle = Bundle(tiny(), Preprocess(size=(16, 16)))
    exact = attention_distance(bundle, pictures(2, (16, 16))).pixels
    bundle.model.to(torch.bfloat16)
    assert attention_distance(bundle, pictures(2, (16, 16))).pixels == pytest.approx(exact, rel=0.05)
    assert exact.shape == (3, 2, 2)


def test_a_resnet_has_none() -> None:
    bundle = Bundle(create("R26x0.25", image_size=16, depths=(1,)).eval(), Preprocess(size=(16, 16)))
    with pytest.raises(NothingToSeeError, match="convolutions only"):
        attention_distance(bundle, pictures(1, (16, 16)))
