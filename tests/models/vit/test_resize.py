"""Tables at another grid, against the interpolation that the official code calls."""

from __future__ import annotations

import pytest
import torch

from vitrail.models.vit.resize import resize_line, resize_table


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
