"""Relative position bias against the definition, pair by pair, at home and on other grids."""

from __future__ import annotations

import itertools
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from models.small import awake, pictures, small, tokens_on
from vitrail.models import build
from vitrail.models.vit.another_size import at_size
from vitrail.models.vit.positions.relative_bias import RelativeBias
from vitrail.vocabulary import Grid, Tokens

FIELDS: list[dict[str, Any]] = [{"pooling": "mean"}, {}, {"registers": 3}, {"pooling": "mean", "registers": 2}]


def relative_bias(**fields: Any) -> RelativeBias:
    torch.manual_seed(0)
    part = RelativeBias(small(positions="relative-bias", positions_at="every", **fields)).double()
    torch.nn.init.normal_(part.table)
    return part


def queries(length: int, batch: int = 2) -> Tensor:
    return torch.zeros(batch, 2, length, 8, dtype=torch.float64)


def as_picture(part: RelativeBias) -> Tensor:
    """[offset_rows, offset_columns, heads] of the grid of 3 x 4."""
    return part.table[: 5 * 7].reshape(5, 7, -1)


def pair_by_pair(part: RelativeBias, grid: Grid, prefix: int, table: Tensor) -> Tensor:
    """In words: the entry of two patches lies as far from the middle of the table as the first from the second."""
    places = [None] * prefix + list(itertools.product(range(grid[0]), range(grid[1])))
    of_prefix = part.table[-3:]
    bias = torch.empty(table.shape[-1], len(places), len(places), dtype=table.dtype)
    for (i, query), (j, key) in itertools.product(enumerate(places), repeat=2):
        if query is None:
            bias[:, i, j] = of_prefix[2 if key is None else 0]
        elif key is None:
            bias[:, i, j] = of_prefix[1]
        else:
            bias[:, i, j] = table[query[0] - key[0] + grid[0] - 1, query[1] - key[1] + grid[1] - 1]
    return bias


@pytest.mark.parametrize("fields", FIELDS, ids=str)
def test_at_home_it_is_the_table(fields: dict[str, Any]) -> None:
    part, config = relative_bias(**fields), small(**fields)
    bias = part.bias(queries(config.tokens), tokens_on(config.grid, config.width))
    assert bias is not None
    assert torch.equal(bias[0], pair_by_pair(part, config.grid, config.prefix, as_picture(part)))


@pytest.mark.parametrize("grid", [(5, 7), (2, 2), (1, 4), (6, 1)])
@pytest.mark.parametrize(("rule", "settings"), [("bilinear", {"mode": "bilinear", "align_corners": False}),
                                                ("bilinear-corners", {"mode": "bilinear", "align_corners": True})])
def test_on_another_grid_the_offsets_are_a_picture(grid: Grid, rule: str, settings: dict[str, Any]) -> None:
    part, config = relative_bias(resampling=rule, registers=1), small(registers=1)
    picture = as_picture(part).float().permute(2, 0, 1)[None]
    table = F.interpolate(picture, size=(2 * grid[0] - 1, 2 * grid[1] - 1), **settings)[0].permute(1, 2, 0).double()
    bias = part.bias(queries(config.prefix + grid[0] * grid[1]), tokens_on(grid, config.width))
    assert bias is not None
    torch.testing.assert_close(bias[0], pair_by_pair(part, grid, config.prefix, table))


@pytest.mark.parametrize("grid", [(3, 4), (5, 3)])
def test_every_image_may_keep_patches_of_its_own(grid: Grid) -> None:
    part, tokens = relative_bias(registers=1), tokens_on(grid, 16)
    whole = part.bias(queries(2 + grid[0] * grid[1]), tokens)
    kept = torch.tensor([[7, 0, 10], [3, 11, 4]])
    given = part.bias(queries(5), Tokens(tokens.values[:, :3], tokens.places[kept], grid))
    assert whole is not None
    assert given is not None
    assert given.shape == (2, 2, 5, 5)
    for image in range(2):
        rows = torch.cat((torch.tensor([0, 1]), kept[image] + 2))
        assert torch.equal(given[image], whole[0][:, rows][..., rows])


def test_it_starts_as_if_it_were_not_there() -> None:
    config = small(positions="relative-bias", positions_at="every")
    position = build(config).encoder.positions.at(1)
    bias = position.bias(queries(config.tokens).float(), tokens_on(config.grid, 16))
    assert bias is not None
    assert not bias.any()


@pytest.mark.parametrize("place", ["every", "shared"])
@pytest.mark.parametrize("size", [(40, 12), (16, 36)])
@torch.inference_mode()
def test_resampled_once_is_resampled_on_the_way(place: str, size: tuple[int, int]) -> None:
    model = awake(small(positions="relative-bias", positions_at=place, resampling="bilinear"))
    resized = at_size(model, size)
    images = pictures(resized.config)
    assert resized.config.image_size == size
    torch.testing.assert_close(resized(images), model(images))
