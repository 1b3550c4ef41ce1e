"""Attention: both kernels are the formula, and the heads are the paper's."""

from __future__ import annotations

import pytest
import torch

from models.small import awake, pictures, small, tokens_on
from vitrail.models.vit.attention import AttentionCore, attention_weights
from vitrail.models.vit.positions import Position


@pytest.mark.parametrize("shape", [None, (5, 7), (1, 1, 5, 7), (2, 3, 5, 7)])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_both_kernels_give_the_formula(shape: tuple[int, ...] | None, dtype: torch.dtype) -> None:
    torch.manual_seed(0)
    q, k, v = (torch.randn(2, 3, length, 4, dtype=dtype, requires_grad=True) for length in (5, 7, 7))
    bias = None if shape is None else torch.randn(shape, dtype=dtype)
    scores = torch.einsum("bhqd,bhkd->bhqk", q, k) / 4**0.5 + (0 if bias is None else bias)
    expected = torch.einsum("bhqk,bhkd->bhqd", scores.exp() / scores.exp().sum(-1, keepdim=True), v)
    slopes = torch.autograd.grad(expected.square().sum(), (q, k, v))
    core = AttentionCore()
    for kernel in ("fused", "products"):
        core.kernel = kernel
        given = core(q, k, v, bias)
        torch.testing.assert_close(given, expected)
        torch.testing.assert_close(torch.autograd.grad(given.square().sum(), (q, k, v)), slopes)


def test_weights_sum_to_one() -> None:
    torch.manual_seed(0)
    weights = attention_weights(torch.randn(2, 3, 5, 4), torch.randn(2, 3, 7, 4))
    assert weights.shape == (2, 3, 5, 7)
    torch.testing.assert_close(weights.sum(-1), torch.ones(2, 3, 5))


def test_heads_are_slices_of_queries_keys_and_values() -> None:
    config = small(width=12, heads=3)
    attention = awake(config).double().encoder.blocks[0].attention
    tokens = tokens_on(config.grid, 12)
    values = tokens.values.double()
    weight, bias = attention.qkv.weight, attention.qkv.bias
    mixed = []
    for head in range(3):
        q, k, v = (values @ weight[start : start + 4].T + bias[start : start + 4]
                   for start in (part * 12 + head * 4 for part in range(3)))
        mixed.append(torch.softmax(q @ k.transpose(1, 2) / 2, -1) @ v)
    expected = attention.out(torch.cat(mixed, -1))
    torch.testing.assert_close(attention(values, Position(), tokens), expected)


def test_queries_and_keys_can_be_recorded_without_a_flag() -> None:
    config, seen = small(positions="rotary-2d", positions_at="shared"), []
    model = awake(config)
    core = model.encoder.blocks[1].attention.core
    core.register_forward_hook(lambda part, given, result: seen.append((given, result)))
    model(pictures(config))
    (q, k, v, bias), result = seen[0]
    torch.testing.assert_close(attention_weights(q, k, bias) @ v, result)
