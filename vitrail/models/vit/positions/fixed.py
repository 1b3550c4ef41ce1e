"""Positions without parameters: sines and cosines added to the values, or rotations of queries and keys."""

from __future__ import annotations

import math

import torch
from jaxtyping import Float
from torch import Tensor

from vitrail.models.vit.config import ViTConfig
from vitrail.models.vit.positions.position import Position
from vitrail.vocabulary import Tokens

TEMPERATURE = 10_000.0


class SinCos2D(Position):
    """big_vision's `posemb_sincos_2d`: sines, cosines of the column, then of the row; a quarter of the width each."""

    def __init__(self, config: ViTConfig) -> None:
        super().__init__()
        self.width = config.width

    def table(self, places: Tensor) -> Float[Tensor, "*patches width"]:
        """The vectors of the given (row, column) places."""
        quarter = self.width // 4
        steps = torch.arange(quarter, device=places.device, dtype=torch.float32) / max(quarter - 1, 1)
        angles = places[..., None].float() * TEMPERATURE**-steps
        row, column = angles[..., 0, :], angles[..., 1, :]
        return torch.cat((column.sin(), column.cos(), row.sin(), row.cos()), dim=-1)

    def add(self, values: Float[Tensor, "batch tokens width"], tokens: Tokens) -> Float[Tensor, "batch tokens width"]:
        table = self.table(tokens.places).to(values.dtype)
        prefix = values.shape[1] - table.shape[-2]
        return torch.cat((values[:, :prefix], values[:, prefix:] + table), dim=1)


class Rotary2D(Position):
    """Axial rotary positions: half of each head's pairs turn with the row, half with the column; the prefix stays.

    `rotary_unit` of the config: the fastest pair turns by one radian a patch; or, as in DINOv3 (2508.10104), twice all
    the way round between the edges of the grid, whatever its size, with the patches at their centers.
    """

    def __init__(self, config: ViTConfig) -> None:
        super().__init__()
        self.head_width, self.base, self.unit = config.head_width, config.rotary_base, config.rotary_unit

    def angles(self, tokens: Tokens) -> Float[Tensor, "*patches half_head_width"]:
        count, turns = self.head_width // 4, tokens.places.float()
        if self.unit == "grid":
            turns = torch.stack([2 * math.pi * (2 * ((place + 0.5) / cells) - 1)
                                 for place, cells in zip(turns.unbind(-1), tokens.grid, strict=True)], dim=-1)
        steps = torch.arange(count, device=turns.device, dtype=torch.float32) / count
        return (turns[..., None] * self.base**-steps).flatten(-2)

    def rotate(self, values: Float[Tensor, "batch heads tokens head_width"], tokens: Tokens) -> Tensor:
        angles = self.angles(tokens)
        prefix = values.shape[2] - angles.shape[-2]
        angles = torch.cat((angles.new_zeros(*angles.shape[:-2], prefix, angles.shape[-1]), angles), dim=-2)
        if angles.dim() == 3:
            angles = angles[:, None]  # [batch, 1 head, tokens, half]
        cosine, sine = angles.cos().to(values.dtype), angles.sin().to(values.dtype)
        first, second = values.chunk(2, dim=-1)
        return torch.cat((first * cosine - second * sine, second * cosine + first * sine), dim=-1)
