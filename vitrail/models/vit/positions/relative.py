"""The paper's relative attention (appendix D.4): one learned key per offset between query and key, 1-D.

The queries meet these extra keys, and the scores are added before the softmax. The sequence is the class token and
registers followed by the patches in reading order, so offsets reach from -(tokens - 1) to tokens - 1.
"""

from __future__ import annotations

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from vitrail.models.vit.config import ViTConfig
from vitrail.models.vit.patches import places_of
from vitrail.models.vit.positions.learned import STD
from vitrail.models.vit.positions.position import Position
from vitrail.vocabulary import Grid, Tokens

Reading = tuple[Tensor, Tensor]
"""Whole offsets along one axis of the table's grid, and how much each counts."""


class Relative(Position):
    """Scores by offset. On another grid they are read by location: an offset along rows or columns is scaled to the
    grid of the table, and lies between whole ones there (bilinear, corners on corners, as tables are resized)."""

    def __init__(self, config: ViTConfig) -> None:
        super().__init__()
        self.home, self.reach = config.grid, config.tokens - 1
        self.offset_keys = nn.Parameter(torch.empty(config.heads, 2 * self.reach + 1, config.head_width))

    def initialize(self) -> None:
        nn.init.normal_(self.offset_keys, std=STD)

    def bias(self, queries: Float[Tensor, "batch heads tokens head_width"], tokens: Tokens) -> Tensor | None:
        scale = queries.shape[-1] ** -0.5
        by_offset = torch.einsum("bhtd,hod->bhto", queries * scale, self.offset_keys)
        rows, columns, front = offsets_between(tokens, queries.shape[2])
        if tokens.grid == self.home:
            return self.read(by_offset, rows * self.home[1] + columns + front)
        (height, width), (home_height, home_width) = tokens.grid, self.home
        parts = [
            (row_share * column_share).to(by_offset.dtype) * self.read(by_offset, row * home_width + column + front)
            for row, row_share in scaled(rows, height, home_height)
            for column, column_share in scaled(columns, width, home_width)
        ]
        return torch.stack(parts).sum(0)

    def resampled(self, grid: Grid) -> dict[str, Tensor]:
        """Many pairs of tokens share one offset of the new table: its key is the mean of what they read now."""
        prefix = self.reach + 1 - self.home[0] * self.home[1]
        places = places_of(grid, self.offset_keys.device)
        rows, columns, front = offsets_between(Tokens(places[None, :, :0].float(), places, grid), prefix + len(places))
        reach = prefix + len(places) - 1
        shares = self.offset_keys.new_zeros(2 * reach + 1, 2 * self.reach + 1)
        new = rows * grid[1] + columns + front + reach
        for row, row_share in scaled(rows, grid[0], self.home[0]):
            for column, column_share in scaled(columns, grid[1], self.home[1]):
                old = row * self.home[1] + column + front + self.reach
                shares.index_put_((new, old), (row_share * column_share).to(shares.dtype), accumulate=True)
        return {"offset_keys": shares / shares.sum(1, keepdim=True) @ self.offset_keys}

    def read(self, by_offset: Float[Tensor, "batch heads tokens offsets"], offsets: Tensor) -> Tensor:
        return by_offset.gather(-1, (offsets + self.reach).expand(*by_offset.shape[:3], by_offset.shape[2]))


def offsets_between(tokens: Tokens, length: int) -> tuple[Tensor, Tensor, Tensor]:
    """Query minus key in rows, in columns, and in steps through the prefix; each [tokens, tokens], rows and columns
    [batch, 1, tokens, tokens] where places differ. The prefix stands before the first patch: -1 is its last token."""
    patches = tokens.places if tokens.places.dim() == 2 else tokens.places[:, None]
    prefix = length - patches.shape[-2]
    places = torch.cat((patches.new_zeros(*patches.shape[:-2], prefix, 2), patches), dim=-2)
    front = torch.cat((torch.arange(-prefix, 0, device=patches.device), patches.new_zeros(length - prefix)))
    between = places[..., :, None, :] - places[..., None, :, :]
    return between[..., 0], between[..., 1], front[:, None] - front


def scaled(offsets: Int[Tensor, "*batch query key"], cells: int, home_cells: int) -> tuple[Reading, Reading]:
    """Offsets among `cells` as the whole offsets below and above among `home_cells`. In whole numbers, so that the
    longest one never lands outside the table."""
    steps = max(cells - 1, 1)
    stretched = offsets * (home_cells - 1)
    below, rest = stretched.div(steps, rounding_mode="floor"), stretched.remainder(steps)
    return (below, 1 - rest / steps), (below + (rest > 0), rest / steps)
