"""The paper's relative attention against a loop over pairs, at home and on other grids."""

from __future__ import annotations

import itertools
import math
from typing import Any

import pytest
import torch
from torch import Tensor

from models.small import small, tokens_on
from vitrail.models.vit.positions.relative import Relative
from vitrail.vocabulary import Grid, Tokens


def relative(**fields: Any) -> Relative:
    torch.manual_seed(0)
    part = Relative(small(positions="relative", positions_at="every", **fields)).double()
    torch.nn.init.normal_(part.offset_keys)
    return part


def queries_for(part: Relative, length: int) -> Tensor:
    heads, _, head_width = part.offset_keys.shape
    return torch.randn(2, heads, length, head_width, dtype=torch.float64, generator=torch.Generator().manual_seed(1))


def one_dimensional(part: Relative, queries: Tensor) -> Tensor:
    """The description itself: query i times the extra key of offset i - j."""
    length = queries.shape[2]
    rows = [[queries[:, :, i] * part.offset_keys[:, i - j + part.reach] for j in range(length)] for i in range(length)]
    return torch.stack([torch.stack([pair.sum(-1) for pair in row], -1) for row in rows], -2) / math.sqrt(
        queries.shape[-1])


@pytest.mark.parametrize("fields", [{"pooling": "mean"}, {}, {"registers": 3}, {"pooling": "mean", "registers": 2}],
                         ids=str)
def test_at_home_it_is_the_loop(fields: dict[str, Any]) -> None:
    part, config = relative(**fields), small(**fields)
    queries = queries_for(part, config.tokens)
    bias = part.bias(queries, tokens_on(config.grid, config.width))
    torch.testing.assert_close(bias, one_dimensional(part, queries))


def by_location(part: Relative, queries: Tensor, grid: Grid, prefix: int) -> Tensor:
    """In words: the difference of two places is scaled so that the corners of the grids meet. Between whole rows and
    columns of the table's grid, the four neighbours are mixed. A prefix token counts as standing at the first patch,
    and so many steps before it."""
    length = queries.shape[2]
    places = [(0, 0)] * prefix + list(itertools.product(range(grid[0]), range(grid[1])))
    steps = [*range(-prefix, 0), *([0] * (length - prefix))]
    scale = [(old - 1) / (new - 1) if new > 1 else 0 for old, new in zip(part.home, grid, strict=True)]
    bias = queries.new_zeros(*queries.shape[:3], length)
    for i, j in itertools.product(range(length), repeat=2):
        down, along = ((places[i][axis] - places[j][axis]) * scale[axis] for axis in range(2))
        key = torch.zeros_like(part.offset_keys[:, 0])
        for (row, row_share), (column, column_share) in itertools.product(neighbors(down), neighbors(along)):
            offset = row * part.home[1] + column + steps[i] - steps[j]
            key = key + row_share * column_share * part.offset_keys[:, offset + part.reach]
        bias[:, :, i, j] = (queries[:, :, i] * key).sum(-1) / math.sqrt(queries.shape[-1])
    return bias


def neighbors(number: float) -> list[tuple[int, float]]:
    """The whole numbers around one, and the share of each."""
    below = math.floor(number)
    return [(below, 1.0)] if below == number else [(below, below + 1 - number), (below + 1, number - below)]


@pytest.mark.parametrize("grid", [(5, 7), (2, 2), (3, 7), (1, 4), (6, 1)])
@pytest.mark.parametrize("fields", [{"pooling": "mean"}, {"registers": 2}], ids=str)
def test_on_another_grid_it_is_read_by_location(grid: Grid, fields: dict[str, Any]) -> None:
    part, config = relative(**fields), small(**fields)
    queries = queries_for(part, config.prefix + grid[0] * grid[1])
    bias = part.bias(queries, tokens_on(grid, config.width))
    # shares are float32 in the code: places are few, and half precision is enough for them
    torch.testing.assert_close(bias, by_location(part, queries, grid, config.prefix), atol=1e-5, rtol=1e-5)


def test_corners_of_another_grid_score_as_corners_at_home() -> None:
    part, queries = relative(registers=1), queries_for(relative(registers=1), 2)
    prefix = torch.zeros(2, 2, 2, 8, dtype=torch.float64)
    scores = []
    for grid in ((3, 4), (5, 9), (2, 2)):
        corners = torch.tensor([[0, 0], [grid[0] - 1, grid[1] - 1]])
        tokens = Tokens(torch.zeros(2, 2, 16), corners, grid)
        bias = part.bias(torch.cat((prefix, queries), dim=2), tokens)
        assert bias is not None
        scores.append(bias[:, :, 2:])
    torch.testing.assert_close(scores[1], scores[0])
    torch.testing.assert_close(scores[2], scores[0])


def test_a_grid_twice_as_fine_keeps_every_second_score() -> None:
    """(2 * rows - 1, 2 * columns - 1) holds the table's grid at its even places."""
    part = relative(pooling="mean")
    coarse, fine = tokens_on((3, 4), 16), tokens_on((5, 7), 16)
    even = (fine.places % 2 == 0).all(-1)
    queries = queries_for(part, 12)
    subset = Tokens(fine.values[:, even], fine.places[even], fine.grid)
    torch.testing.assert_close(part.bias(queries, subset), part.bias(queries, coarse))


@pytest.mark.parametrize("grid", [(3, 4), (5, 3)])
def test_a_subset_has_the_scores_of_its_pairs(grid: Grid) -> None:
    part = relative(registers=1)
    tokens, queries = tokens_on(grid, 16), queries_for(part, 2 + grid[0] * grid[1])
    whole = part.bias(queries, tokens)
    assert whole is not None
    kept = torch.tensor([[7, 0, 10], [3, 11, 4]])
    rows = torch.cat((torch.tensor([[0, 1], [0, 1]]), kept + 2), dim=1)
    subset = Tokens(tokens.values[:, :3], tokens.places[kept], tokens.grid)
    given = part.bias(torch.stack([queries[image][:, rows[image]] for image in range(2)]), subset)
    assert given is not None
    for image in range(2):
        expected = whole[image][:, rows[image]][..., rows[image]]
        torch.testing.assert_close(given[image], expected)
