"""Class token, registers, patches: in this order."""

from __future__ import annotations

import torch

from models.small import awake, small


def test_order_of_the_tokens() -> None:
    model = awake(small(registers=2))
    patches = torch.randn(3, 12, 16)
    tokens = model.prefix(patches)
    assert tokens.shape == (3, 15, 16)
    assert torch.equal(tokens[:, 0], model.prefix.class_token.expand(3, -1))
    assert torch.equal(tokens[:, 1:3], model.prefix.registers.expand(3, -1, -1))
    assert torch.equal(tokens[:, 3:], patches)


def test_without_a_class_token_or_registers_nothing_is_added() -> None:
    patches = torch.randn(3, 12, 16)
    assert torch.equal(awake(small(pooling="mean")).prefix(patches), patches)
