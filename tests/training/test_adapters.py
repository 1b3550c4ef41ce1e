"""Corrections of low rank beside frozen weights."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from models.small import awake, pictures, small

from vitrail.errors import UnknownNameError
from vitrail.models import build
from vitrail.training.adapters import adapt, merged, remove

LAYERS = ["*.attention.qkv", "*.feed_forward"]


def adapted(scale: float = 2.0) -> tuple[Any, Any, list[str]]:
    """A model, its copy with corrections, and the names of the corrected layers."""
    plain = awake(small())
    model = copy.deepcopy(plain)
    return plain, model, adapt(model, 3, scale, LAYERS, ["head"])


def stir(model: Any) -> None:
    """As if it had learned something."""
    with torch.no_grad():
        for value in model.parameters():
            if value.requires_grad:
                value.normal_(std=0.1)


def test_at_first_nothing_is_corrected() -> None:
    plain, model, layers = adapted()
    images = pictures(plain.config)
    assert torch.equal(model(images), plain(images))
    assert len(layers) == 2 * 3


def test_only_corrections_and_the_head_learn() -> None:
    _, model, layers = adapted()
    model.train()(pictures(model.config)).sum().backward()
    learning = {name for name, value in model.named_parameters() if value.grad is not None}
    assert learning == {"head.weight", "head.bias"} | {
        f"{layer}.parametrizations.weight.0.{part}" for layer in layers for part in ("up", "down")}
    sizes = sum(value.numel() for name, value in model.named_parameters() if value.requires_grad)
    assert sizes < 0.5 * sum(value.numel() for value in model.parameters())


@torch.inference_mode()
def test_merged_they_give_the_same_answers_as_beside() -> None:
    _, model, _ = adapted(scale=1.5)
    stir(model)
    whole = build(model.config).eval()
    whole.load_state_dict(merged(model.state_dict(), 1.5))
    images = pictures(model.config)
    torch.testing.assert_close(whole(images), model(images), atol=1e-5, rtol=1e-5)


@torch.inference_mode()
def test_removed_the_model_is_as_it_was() -> None:
    plain, model, _ = adapted()
    stir(model)
    remove(model)
    weights = {name: value for name, value in plain.state_dict().items() if not name.startswith("head")}
    assert model.state_dict().keys() == plain.state_dict().keys()
    assert all(torch.equal(model.state_dict()[name], value) for name, value in weights.items())


def test_a_layer_that_does_not_exist_names_the_nearest() -> None:
    with pytest.raises(UnknownNameError, match="qkv"):
        adapt(awake(small()), 2, 1.0, ["encoder.blocks.0.attention.qvk"], [])
