"""Tables at another grid, against the interpolation that the official code calls; kernels for another patch."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from vitrail.models.vit.resize import resize_kernel, resize_line, resize_table


@pytest.mark.parametrize(("home", "grid"), [((3, 4), (5, 9)), ((6, 6), (3, 2)), ((2, 5), (2, 8)), ((4, 4), (1, 1)),
                                            ((1, 3), (4, 6))])
def test_bilinear_with_corners_on_corners(home: tuple[int, int], grid: tuple[int, int]) -> None:
    torch.manual_seed(0)
    table = torch.randn(*home, 3)
    resized = resize_table(table, grid)
    for row in range(grid[0]):
        for column in range(grid[1]):
            at = [place * (old - 1) / max(new - 1, 1)
                  for place, old, new in zip((row, column), home, grid, strict=True)]
            top, left = int(at[0] + 1e-9), int(at[1] + 1e-9)
            bottom, right = min(top + 1, home[0] - 1), min(left + 1, home[1] - 1)
            down, along = at[0] - top, at[1] - left
            expected = (1 - down) * ((1 - along) * table[top, left] + along * table[top, right]) \
                + down * ((1 - along) * table[bottom, left] + along * table[bottom, right])
            torch.testing.assert_close(resized[row, column], expected, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize(("home", "grid"), [((6, 6), (3, 2)), ((5, 5), (2, 9)), ((3, 4), (5, 9)), ((4, 4), (1, 1))])
def test_bilinear_antialiased(home: tuple[int, int], grid: tuple[int, int]) -> None:
    """Each axis on its own: triangles as wide as the step where the table shrinks, else as wide as a cell."""
    def shares(old: int, new: int) -> torch.Tensor:
        scale = old / new
        centers = (torch.arange(new) + 0.5) * scale - 0.5
        weights = (1 - (torch.arange(old) - centers[:, None]).abs() / max(scale, 1)).clamp(min=0)
        return weights / weights.sum(1, keepdim=True)

    torch.manual_seed(0)
    table = torch.randn(*home, 3)
    expected = torch.einsum("rh,cw,hwd->rcd", shares(home[0], grid[0]), shares(home[1], grid[1]), table)
    torch.testing.assert_close(resize_table(table, grid, "bilinear-antialias"), expected, atol=1e-5, rtol=1e-5)


def test_the_same_grid_is_the_same_table() -> None:
    table = torch.randn(3, 4, 2)
    assert resize_table(table, (3, 4)) is table


def test_a_linear_table_stays_linear_and_slopes_flow() -> None:
    table = torch.linspace(0, 1, 5)[:, None].requires_grad_()
    torch.testing.assert_close(resize_line(table, 9)[:, 0], torch.linspace(0, 1, 9))
    resize_line(table, 9).sum().backward()
    assert table.grad is not None
    assert float(table.grad.sum()) == pytest.approx(9)


def test_bf16_tables_are_resized_in_float32() -> None:
    table = torch.randn(4, 4, 2).bfloat16()
    resized = resize_table(table, (7, 7))
    assert resized.dtype == torch.bfloat16
    torch.testing.assert_close(resized, resize_table(table.float(), (7, 7)).bfloat16())


@pytest.mark.parametrize("rule", ["bilinear-corners", "bicubic", "bicubic-antialias"])
@pytest.mark.parametrize("places", [5, 11])
def test_a_column_is_resized_as_a_row(rule: Any, places: int) -> None:
    table = torch.randn(8, 1, 3)
    row = resize_table(table.transpose(0, 1), (1, places), rule)
    torch.testing.assert_close(resize_table(table, (places, 1), rule), row.transpose(0, 1))


# Kernels of patches.


def products(patches: Tensor, kernel: Tensor) -> Tensor:
    return patches.flatten(1) @ kernel.flatten(1).T


@pytest.mark.parametrize(("old", "new"), [((8, 8), (16, 16)), ((8, 4), (12, 9)), ((7, 16), (14, 17)), ((1, 3), (5, 3))])
def test_a_kernel_sees_in_an_enlarged_patch_what_it_saw_in_the_patch(old: tuple[int, int],
                                                                     new: tuple[int, int]) -> None:
    torch.manual_seed(0)
    patches, kernel = torch.randn(6, 3, *old), torch.randn(5, 3, *old)
    enlarged = torch.nn.functional.interpolate(patches, size=new, mode="bilinear")
    torch.testing.assert_close(products(enlarged, resize_kernel(kernel, new)), products(patches, kernel),
                               atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize(("old", "new"), [((16, 16), (8, 8)), ((9, 12), (8, 5)), ((4, 9), (7, 6))])
def test_where_patches_shrink_no_other_kernel_comes_nearer(old: tuple[int, int], new: tuple[int, int]) -> None:
    """Over patches of independent pixels, by least squares on the whole matrix, which is not taken apart by axis."""
    torch.manual_seed(0)
    kernel = torch.randn(2, 1, *old, dtype=torch.float64)
    every = torch.eye(old[0] * old[1], dtype=torch.float64).reshape(-1, 1, *old)
    shrunk = torch.nn.functional.interpolate(every, size=new, mode="bilinear", antialias=True).flatten(1)
    best = torch.linalg.lstsq(shrunk, kernel.flatten(1).T, driver="gelsd").solution.T
    torch.testing.assert_close(resize_kernel(kernel, new).flatten(1), best, atol=1e-6, rtol=1e-6)


def test_the_same_patch_is_the_same_kernel_and_types_stay() -> None:
    kernel = torch.randn(2, 3, 8, 4)
    assert resize_kernel(kernel, (8, 4)) is kernel
    assert resize_kernel(kernel.bfloat16(), (16, 8)).dtype == torch.bfloat16
    back = resize_kernel(resize_kernel(kernel, (16, 9)), (8, 4))
    assert back.shape == kernel.shape
