"""Sines and cosines by an independent formula; rotations by what they promise."""

from __future__ import annotations

import math

import pytest
import torch

from models.small import awake, small, tokens_on
from vitrail.models.vit.patches import places_of
from vitrail.models.vit.positions.fixed import Rotary2D, SinCos2D
from vitrail.vocabulary import Tokens


def sine_cosine(row: int, column: int, width: int) -> list[float]:
    """In words: the width is cut in four. Frequencies fall geometrically from 1 to 1/10000, both ends included. The
    first two quarters are the sines and cosines of the column times the frequencies, the last two those of the row."""
    quarter = width // 4
    frequencies = [1 / 10_000 ** (step / (quarter - 1)) for step in range(quarter)]
    return [wave(place * frequency) for place in (column, row) for wave in (math.sin, math.cos)
            for frequency in frequencies]


@pytest.mark.parametrize("grid", [(3, 4), (14, 14), (5, 31)])
def test_sine_cosine_is_the_formula(grid: tuple[int, int]) -> None:
    part = SinCos2D(small(width=32, positions="sincos-2d"))
    expected = torch.tensor([sine_cosine(row, column, 32) for row in range(grid[0]) for column in range(grid[1])])
    torch.testing.assert_close(part.table(places_of(grid, torch.device("cpu"))), expected, atol=2e-6, rtol=0)


def test_sine_cosine_leaves_the_prefix_alone() -> None:
    config = small(positions="sincos-2d", registers=2)
    position, tokens = awake(config).encoder.positions.at(0), tokens_on(config.grid, config.width)
    values = torch.randn(2, 15, 16)
    added = position.add(values, tokens) - values
    assert not added[:, :3].any()
    assert added[:, 3:].abs().amax(-1).gt(0.5).all()


def test_the_smallest_width_has_numbers() -> None:
    assert SinCos2D(small(width=4, heads=1)).table(torch.tensor([[1, 2]])).isfinite().all()


def rotary(heads: int = 1, width: int = 16) -> Rotary2D:
    return Rotary2D(small(width=width, heads=heads, positions="rotary-2d", positions_at="shared"))


def test_scores_depend_only_on_the_difference_of_places() -> None:
    torch.manual_seed(0)
    part, q, k = rotary(), *torch.randn(2, 1, 1, 1, 16, dtype=torch.float64)

    def score(query_place: list[int], key_place: list[int]) -> float:
        turned = [part.rotate(vector, Tokens(torch.zeros(1, 1, 16), torch.tensor([place]), (40, 40)))
                  for vector, place in ((q, query_place), (k, key_place))]
        return float((turned[0] * turned[1]).sum())

    base = score([2, 9], [5, 4])
    for shift in ([0, 0], [3, 0], [0, 11], [17, 20]):
        there = [[place[axis] + shift[axis] for axis in range(2)] for place in ([2, 9], [5, 4])]
        assert score(*there) == pytest.approx(base, abs=1e-4)
    for other in ([6, 4], [5, 3], [4, 5]):
        assert abs(score([2, 9], other) - base) > 1e-3


def test_rotation_is_the_formula() -> None:
    """Pair i of the first quarter turns by row times 100^(-i / quarter), of the second by column."""
    part, values = rotary(width=8), torch.randn(1, 1, 1, 8)
    turned = part.rotate(values, Tokens(torch.zeros(1, 1, 8), torch.tensor([[3, 5]]), (8, 8)))[0, 0, 0]
    angles = [3.0, 3 * 100**-0.5, 5.0, 5 * 100**-0.5]
    for pair, angle in enumerate(angles):
        number = complex(values[0, 0, 0, pair], values[0, 0, 0, pair + 4])
        number *= complex(math.cos(angle), math.sin(angle))
        assert complex(turned[pair], turned[pair + 4]) == pytest.approx(number, abs=1e-5)


@pytest.mark.parametrize("grid", [(8, 8), (3, 5), (1, 2)])
def test_across_the_grid_patches_are_turned_by_where_their_centers_are(grid: tuple[int, int]) -> None:
    """From -1 at one edge to 1 at the other, two turns in all: nothing changes where the grid only becomes finer."""
    part = Rotary2D(small(width=8, heads=1, positions="rotary-2d", positions_at="shared", rotary_unit="grid"))
    for row, column in ((0, 1), (grid[0] - 1, grid[1] - 1)):
        values = torch.randn(1, 1, 1, 8)
        turned = part.rotate(values, Tokens(torch.zeros(1, 1, 8), torch.tensor([[row, column]]), grid))[0, 0, 0]
        down, along = ((2 * place + 1) / cells - 1 for place, cells in zip((row, column), grid, strict=True))
        angles = [math.tau * down, math.tau * down * 100**-0.5, math.tau * along, math.tau * along * 100**-0.5]
        for pair, angle in enumerate(angles):
            number = complex(values[0, 0, 0, pair], values[0, 0, 0, pair + 4])
            number *= complex(math.cos(angle), math.sin(angle))
            assert complex(turned[pair], turned[pair + 4]) == pytest.approx(number, abs=1e-5)


def test_the_prefix_is_not_turned_and_lengths_stay() -> None:
    part, tokens = rotary(heads=2), tokens_on((3, 4), 16)
    values = torch.randn(2, 2, 15, 8)
    turned = part.rotate(values, tokens)
    assert torch.equal(turned[:, :, :3], values[:, :, :3])
    torch.testing.assert_close(turned.norm(dim=-1), values.norm(dim=-1))
    assert torch.equal(turned[:, :, 3], values[:, :, 3])  # place (0, 0)
    assert not torch.allclose(turned[:, :, 4:], values[:, :, 4:])
