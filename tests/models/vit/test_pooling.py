"""All tokens -> one vector."""

from __future__ import annotations

import torch

from models.small import awake, pictures, small
from vitrail.models.vit.pooling import AttentionPooling, MeanPooling, build_pooling


def test_the_class_token_is_the_first() -> None:
    values = torch.randn(2, 15, 16)
    assert torch.equal(build_pooling(small(registers=2))(values), values[:, 0])


def test_the_mean_is_over_patches_only() -> None:
    values = torch.randn(2, 14, 16)
    pool = build_pooling(small(pooling="mean", registers=2))
    assert isinstance(pool, MeanPooling)
    torch.testing.assert_close(pool(values), values[:, 2:].sum(1) / 12)


def test_attention_pooling_by_hand() -> None:
    config = small(pooling="attention", registers=2, heads=1)
    pool = awake(config).double().pool
    assert isinstance(pool, AttentionPooling)
    values = torch.randn(2, 14, 16, dtype=torch.float64)
    k, v = pool.key_value(values[:, 2:]).chunk(2, -1)
    weights = torch.softmax((pool.query(pool.probe) * k).sum(-1) / 4, -1)
    gathered = pool.out((weights[..., None] * v).sum(1))
    by_hand = gathered + pool.feed_forward.contract(pool.feed_forward.activate(pool.feed_forward.expand(
        pool.norm(gathered))))
    torch.testing.assert_close(pool(values), by_hand)


def test_registers_do_not_reach_pooled_patches_directly() -> None:
    for pooling in ("mean", "attention"):
        config = small(pooling=pooling, registers=2)
        model = awake(config)
        values = model.encode(pictures(config))
        changed = torch.cat((values[:, :2] + 9, values[:, 2:]), 1)
        assert torch.equal(model.pool(values), model.pool(changed))
