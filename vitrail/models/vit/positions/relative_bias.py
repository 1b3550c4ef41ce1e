"""Relative position bias (BEiT, 2106.08254): one learned number per head and offset, in rows and columns, added to the
scores. Whatever goes from or to the prefix has a number of its own, wherever the patch lies.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor, nn

from vitrail.models.vit.config import ViTConfig
from vitrail.models.vit.positions.position import Position
from vitrail.models.vit.resize import resize_table
from vitrail.vocabulary import Grid, Tokens

PREFIX_ENTRIES = 3


class RelativeBias(Position):
    """`table` [entries, heads], as published: first the offsets, query minus key, 2 rows - 1 times 2 columns - 1 of
    them in reading order; then, where there is a prefix, three for what it asks of a patch, a patch of it, and it of
    itself. On another grid the offsets are resampled as a picture.
    """

    def __init__(self, config: ViTConfig) -> None:
        super().__init__()
        self.home, self.rule = offsets_on(config.grid), config.resampling
        self.table = nn.Parameter(torch.empty(table_shape(config)))

    def initialize(self) -> None:
        """From zeros, as BEiT's code: every place is alike at first."""
        nn.init.zeros_(self.table)

    def bias(self, queries: Float[Tensor, "batch heads tokens head_width"], tokens: Tokens) -> Tensor | None:
        chosen = entries(tokens, queries.shape[2])
        # Along the second axis: the backward pass is ten times faster than that of indexing the first (CPU, 2026-11).
        scores = self.on_grid(tokens.grid).t().index_select(1, chosen.flatten()).unflatten(1, chosen.shape)
        return (scores[None] if chosen.dim() == 2 else scores.transpose(0, 1)).to(queries.dtype)

    def on_grid(self, grid: Grid) -> Float[Tensor, "entries heads"]:
        offsets, of_prefix = self.table.tensor_split([self.home[0] * self.home[1]])
        resized = resize_table(offsets.unflatten(0, self.home), offsets_on(grid), self.rule)
        return torch.cat((resized.flatten(0, 1), of_prefix))

    def resampled(self, grid: Grid) -> dict[str, Tensor]:
        return {"table": self.on_grid(grid)}


def table_shape(config: ViTConfig) -> tuple[int, int]:
    """Entries and heads."""
    rows, columns = offsets_on(config.grid)
    return rows * columns + (PREFIX_ENTRIES if config.prefix else 0), config.heads


def offsets_on(grid: Grid) -> Grid:
    """How many offsets there are along rows and along columns."""
    return 2 * grid[0] - 1, 2 * grid[1] - 1


def entries(tokens: Tokens, length: int) -> Int[Tensor, "*batch query key"]:
    """Which entry each pair of tokens reads: offsets in reading order, then the three of the prefix."""
    rows, columns = offsets_on(tokens.grid)
    between = tokens.places[..., :, None, :] - tokens.places[..., None, :, :]
    patches = (between[..., 0] + rows // 2) * columns + between[..., 1] + columns // 2
    prefix, offsets = length - tokens.places.shape[-2], rows * columns
    whole = F.pad(F.pad(patches, (prefix, 0), value=offsets + 1), (0, 0, prefix, 0), value=offsets)
    whole[..., :prefix, :prefix] = offsets + 2
    return whole
