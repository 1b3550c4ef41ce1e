"""A block: two branches beside two shortcuts, layer scale, stochastic depth."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from models.small import small, tokens_on
from vitrail.models.vit.block import Block, Branch
from vitrail.models.vit.positions import Position


@pytest.mark.parametrize("fields", [{}, {"layer_scale": 0.5}], ids=str)
def test_a_block_is_equations_2_and_3(fields: dict[str, Any]) -> None:
    torch.manual_seed(0)
    config = small(**fields)
    block, tokens = Block(config), tokens_on(config.grid, config.width)
    for branch in (block.branch1, block.branch2):
        branch.initialize()
    scale = fields.get("layer_scale", 1.0)
    middle = scale * block.attention(block.norm1(tokens.values), Position(), tokens) + tokens.values
    expected = scale * block.feed_forward(block.norm2(middle)) + middle
    torch.testing.assert_close(block(tokens.values, Position(), tokens), expected)


def test_stochastic_depth_drops_whole_samples_and_keeps_the_mean() -> None:
    torch.manual_seed(0)
    branch, values = Branch(small(), drop_path=0.25).train(), torch.ones(20_000, 3, 4)
    given = branch(values)
    per_sample = given.flatten(1)
    assert torch.equal(per_sample, per_sample[:, :1].expand_as(per_sample))  # all of a sample, or nothing
    kept = per_sample[:, 0] != 0
    assert torch.allclose(per_sample[kept], torch.tensor(1 / 0.75))
    assert float(kept.float().mean()) == pytest.approx(0.75, abs=0.015)
    assert float(given.mean()) == pytest.approx(1.0, abs=0.02)


@pytest.mark.parametrize("drop_path", [0.0, 0.9])
def test_nothing_is_dropped_in_evaluation(drop_path: float) -> None:
    values = torch.randn(50, 3, 4)
    assert torch.equal(Branch(small(), drop_path).eval()(values), values)


def test_both_branches_are_dropped_apart() -> None:
    """With everything dropped a block is the identity; with half, all four outcomes appear."""
    torch.manual_seed(0)
    config = small()
    block, tokens = Block(config, drop_path=0.5).train(), tokens_on(config.grid, config.width, batch=64)
    kept = []
    for branch in (block.branch1, block.branch2):
        branch.register_forward_hook(lambda part, given, result: kept.append(result.flatten(1).ne(0).any(1)))
    block(tokens.values, Position(), tokens)
    assert len({(bool(first), bool(second)) for first, second in zip(*kept, strict=True)}) == 4
