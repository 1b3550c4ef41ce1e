"""Costs of the axial models from their configurations agree with built models, torch's counter and what is kept."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.utils.flop_counter import FlopCounterMode

from models.memory import held_bytes
from models.small import small
from models.test_convolution_cost import built, taps
from vitrail.models import AxialResNetConfig, AxialViTConfig, build, configure, describe
from vitrail.models.vit.attention import AttentionCore

sides = st.integers(17, 40)
any_resnet = st.builds(
    lambda heads, factor, **fields: AxialResNetConfig(heads=heads, width=factor * max(4 * heads, 8) / 64, **fields),
    heads=st.sampled_from([1, 2, 4, 8]), factor=st.integers(1, 2), image_size=st.tuples(sides, sides),
    channels=st.integers(1, 4), classes=st.integers(1, 9),
    depths=st.lists(st.integers(1, 3), min_size=1, max_size=3).map(tuple))
any_vit = st.builds(
    lambda heads, head_width, grid, **fields: AxialViTConfig(
        heads=heads, width=heads * head_width, patch=4, image_size=(4 * grid[0], 4 * grid[1]), **fields),
    heads=st.integers(1, 3), head_width=st.sampled_from([4, 8]), grid=st.tuples(st.integers(1, 5), st.integers(1, 5)),
    channels=st.integers(1, 4), classes=st.integers(1, 9), depth=st.integers(1, 3), mlp=st.integers(1, 20),
    positions=st.sampled_from(["none", "learned", "learned-2d", "sincos-2d"]),
    pooling=st.sampled_from(["mean", "attention"]), head_hidden=st.none() | st.integers(1, 9),
    feedforward=st.sampled_from(["gelu-tanh", "swiglu"]), qkv_bias=st.booleans(),
    layer_scale=st.none() | st.just(0.1))


@settings(max_examples=60, deadline=None, derandomize=True)
@given(config=any_resnet | any_vit)
def test_parameters_of_any_model(config: AxialResNetConfig | AxialViTConfig) -> None:
    assert describe(config).parameters == built(config)


@pytest.mark.parametrize("name", ["axial-B/32", "axial-B/16", "axial-R50", "axial-R50x0.5", "axial-R26x0.25"])
def test_parameters_of_named_models(name: str) -> None:
    assert describe(configure(name)).parameters == built(configure(name))


@settings(max_examples=20, deadline=None, derandomize=True)
@given(config=any_vit)
@torch.no_grad()
def test_macs_of_an_axial_vit_against_torch(config: AxialViTConfig) -> None:
    model = build(config).eval()
    for part in model.modules():
        if isinstance(part, AttentionCore):
            part.kernel = "products"
    with FlopCounterMode(display=False) as counter:
        model(torch.zeros(1, config.channels, *config.image_size))
    assert 2 * describe(config).macs == counter.get_total_flops()


@settings(max_examples=15, deadline=None, derandomize=True)
@given(config=any_resnet)
@torch.no_grad()
def test_macs_of_an_axial_resnet_against_torch(config: AxialResNetConfig) -> None:
    """Of convolutions, the taps that meet a pixel; of everything else, what torch counts (which is no product where a
    width is one)."""
    images = torch.zeros(1, config.channels, *config.image_size)
    with FlopCounterMode(display=False) as counter:
        build(config).eval()(images)
    products = sum(flops for kind, flops in counter.get_flop_counts()["Global"].items() if "conv" not in str(kind))
    assert describe(config).macs == taps(build(config).eval(), images) + products // 2


def test_an_axial_r50_has_fewer_parameters_than_the_resnet_and_about_its_macs() -> None:
    axial, resnet = describe(configure("axial-R50")), describe(configure("R50x1"))
    assert axial.parameters == 19_358_408
    assert axial.macs == 4_050_806_528
    assert 1 < axial.macs / resnet.macs < 1.05
    assert axial.activation_bytes > 2 * resnet.activation_bytes


MEMORY: list[dict[str, Any]] = [
    *({"family": "axial-vit"} | fields for fields in (
        {}, {"image_size": (32, 96)}, {"pooling": "attention", "feedforward": "swiglu"}, {"layer_scale": 0.1},
        {"drop_path": 0.2}, {"dropout": 0.1})),
    {"family": "axial-resnet", "depths": (2, 3), "width": 0.5, "heads": 8, "image_size": (95, 61)},
    {"family": "axial-resnet", "depths": (1, 1, 1), "width": 0.25, "image_size": 64},
]


@pytest.mark.parametrize("fields", MEMORY, ids=str)
def test_activation_bytes_are_what_autograd_keeps(fields: dict[str, Any]) -> None:
    if fields["family"] == "axial-vit":
        fields = {"image_size": 48, "patch": 8, "width": 96, "depth": 3, "heads": 3, "mlp": 384} | fields
    config = small(**fields)
    assert held_bytes(config) == pytest.approx(describe(config).activation_bytes, rel=0.04)
