from __future__ import annotations

import numpy as np
import pytest
import torch
from tiny_models import tiny

from vitrail.inspection.panes import Panes, panes_of
from vitrail.models import create


def raw(height: int, width: int) -> torch.Tensor:
    return torch.zeros(1, 3, height, width, dtype=torch.uint8)


def test_of_a_transformer_they_are_its_patches() -> None:
    panes = panes_of(tiny(), raw(12, 8))
    assert (panes.down, panes.across, panes.grid) == ((0, 4, 8, 12), (0, 4, 8), (3, 2))


@pytest.mark.parametrize(("height", "width", "grid"), [(224, 112, (14, 14)), (23, 9, (14, 9)), (32, 32, (14, 14))])
def test_of_a_resnet_windows_that_cover_each_pixel_once(height: int, width: int, grid: tuple[int, int]) -> None:
    panes = panes_of(create("R26x0.25", image_size=32, depths=(1,)), raw(height, width))
    assert panes.grid == grid
    masks = panes.pixels(torch.eye(panes.count, dtype=torch.bool))
    assert masks.shape == (panes.count, height, width)
    assert bool((masks.sum(0) == 1).all())
    sizes = masks.sum((1, 2))
    assert sizes.min() > 0
    assert sizes.max() <= (-(-height // grid[0])) * (-(-width // grid[1]))


@pytest.mark.parametrize(("rows", "columns", "most", "grid"), [
    (14, 14, 200, (14, 14)), (16, 16, 200, (8, 8)), (37, 37, 200, (13, 13)), (3, 400, 200, (1, 134)),
    (5, 3, 1, (1, 1))])
def test_squares_of_patches_where_there_are_many(rows: int, columns: int, most: int, grid: tuple[int, int]) -> None:
    fine = Panes(tuple(range(0, 4 * rows + 1, 4)), tuple(range(0, 4 * columns + 1, 4)))
    coarse = fine.coarser(most)
    assert coarse.grid == grid
    assert (coarse.down[-1], coarse.across[-1]) == (4 * rows, 4 * columns)
    assert set(coarse.down) <= set(fine.down)


def test_a_coarse_map_on_finer_panes_is_constant_within_each() -> None:
    fine = Panes(tuple(range(0, 21, 4)), tuple(range(0, 13, 4)))  # 5 x 3
    coarse = fine.coarser(6)  # squares of 2 x 2: 3 x 2
    spread = coarse.spread_over(fine, np.arange(6).reshape(1, 3, 2))
    assert spread[0].tolist() == [[0, 0, 1], [0, 0, 1], [2, 2, 3], [2, 2, 3], [4, 4, 5]]


def test_sums_over_panes_of_unequal_size() -> None:
    panes = Panes((0, 2, 3), (0, 1, 4))
    assert panes.sums(np.ones((1, 3, 4)))[0].tolist() == [[2, 6], [1, 3]]
