"""One vector -> logits."""

from __future__ import annotations

import pytest
import torch

from models.small import awake, pictures, small


def test_the_hidden_layer_ends_in_tanh() -> None:
    config = small(head_hidden=7)
    model, images = awake(config), pictures(config)
    pooled = model.pool(model.encode(images))
    linear = model.hidden.linear
    torch.testing.assert_close(model.embed(images), torch.tanh(pooled @ linear.weight.T + linear.bias))


def test_without_it_the_head_reads_the_pooled_vector() -> None:
    config = small()
    model, images = awake(config), pictures(config)
    torch.testing.assert_close(model.embed(images), model.pool(model.encode(images)))
    assert model.head.weight.shape == (5, 16)


@pytest.mark.parametrize("hidden", [None, 9])
def test_the_projection_stands_last_and_has_no_bias(hidden: int | None) -> None:
    config = small(projection=7, head_hidden=hidden)
    model, images = awake(config), pictures(config)
    before = model.hidden(model.pool(model.encode(images)))
    torch.testing.assert_close(model.embed(images), before @ model.projection.weight.T)
    assert model.head.weight.shape == (5, 7)
