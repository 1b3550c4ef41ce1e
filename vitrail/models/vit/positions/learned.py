"""Learned tables, added to the values: one row per patch (1-D), or a table of rows and one of columns (2-D)."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor, nn

from vitrail.models.vit.config import ViTConfig
from vitrail.models.vit.positions.position import Position, patch_index
from vitrail.models.vit.resize import resize_line, resize_table
from vitrail.vocabulary import Grid, Tokens

STD = 0.02  # paper's code: every position embedding starts from N(0, 0.02)


class LearnedTable(Position):
    """Adds a learned vector to each patch and to the class token; resampled by location on another grid."""

    def __init__(self, config: ViTConfig) -> None:
        super().__init__()
        self.home, self.rule = config.grid, config.resampling
        self.class_position = nn.Parameter(torch.empty(config.class_tokens, config.width))

    def initialize(self) -> None:
        for table in self.parameters():
            nn.init.normal_(table, std=STD)

    def on_grid(self, grid: Grid) -> Float[Tensor, "rows columns width"]:
        """The patches' vectors on a grid, as a picture."""
        raise TypeError(f"{type(self).__name__} must say what its table is on a grid")

    def add(self, values: Float[Tensor, "batch tokens width"], tokens: Tokens) -> Float[Tensor, "batch tokens width"]:
        table = self.on_grid(tokens.grid).flatten(0, 1)[patch_index(tokens)]
        unplaced = values.shape[1] - table.shape[-2] - self.class_position.shape[0]
        parts: tuple[Tensor, ...] = (self.class_position, table.new_zeros(unplaced, table.shape[-1]), table)
        if table.dim() == 3:
            parts = tuple(part.expand(table.shape[0], *part.shape[-2:]) for part in parts)
        return values + torch.cat(parts, dim=-2)


class Learned(LearnedTable):
    """The paper's default: one vector per patch, in reading order."""

    def __init__(self, config: ViTConfig) -> None:
        super().__init__(config)
        self.table = nn.Parameter(torch.empty(config.patches, config.width))

    def on_grid(self, grid: Grid) -> Float[Tensor, "rows columns width"]:
        return resize_table(self.table.unflatten(0, self.home), grid, self.rule)

    def resampled(self, grid: Grid) -> dict[str, Tensor]:
        return {"table": self.on_grid(grid).flatten(0, 1)}


class Learned2D(LearnedTable):
    """The paper's 2-D variant (appendix D.4): half the width from the row, half from the column."""

    def __init__(self, config: ViTConfig) -> None:
        super().__init__(config)
        rows, columns = config.grid
        self.rows = nn.Parameter(torch.empty(rows, config.width // 2))
        self.columns = nn.Parameter(torch.empty(columns, config.width // 2))

    def on_grid(self, grid: Grid) -> Float[Tensor, "rows columns width"]:
        rows, columns = self.resampled(grid).values()
        return torch.cat((rows[:, None].expand(*grid, -1), columns[None].expand(*grid, -1)), dim=-1)

    def resampled(self, grid: Grid) -> dict[str, Tensor]:
        return {"rows": resize_line(self.rows, grid[0], self.rule),
                "columns": resize_line(self.columns, grid[1], self.rule)}
