"""Axial-ViT (paper, appendix D.6): a token attends within its row, then within its column, never to all at once.

    axial-B/32   axial-S/16   axial-Ti/4   any size with any patch, as of ViT

Each block of the ViT becomes two: (attention along rows + MLP), then (attention along columns + MLP). That is what the
paper says. Ours, since it says no more: a class token or registers, which stand in no row and no column, are refused,
so the answer is pooled from the patches; positions are added before the blocks and act inside none of them.
"""

from __future__ import annotations

from typing import Any, Literal

from jaxtyping import Float
from pydantic import model_validator
from torch import Tensor, nn

from vitrail.errors import UsageError
from vitrail.models.vit import variants
from vitrail.models.vit.attention import Attention
from vitrail.models.vit.block import Block
from vitrail.models.vit.config import Pooling, PositionKind, ViTConfig
from vitrail.models.vit.positions import Position
from vitrail.models.vit.vit import ViT
from vitrail.vocabulary import Tokens

Line = Literal["row", "column"]

ADDED: tuple[PositionKind, ...] = ("none", "learned", "learned-2d", "sincos-2d")
POOLED: tuple[Pooling, ...] = ("mean", "attention")

PREFIX = "axial-"
KNOWN_NAMES = [PREFIX + name for name in ("Ti/4", "Ti/16", "S/16", "S/32", "B/16", "B/32", "L/16", "L/32")]


class AxialViTConfig(ViTConfig):
    """A Vision Transformer whose attention is along rows and columns of the grid of patches."""

    family: Literal["axial-vit"] = "axial-vit"  # type: ignore[assignment]  # by which the families differ
    pooling: Pooling = "mean"

    @model_validator(mode="after")
    def _stands_on_the_grid(self) -> AxialViTConfig:
        if self.pooling not in POOLED:
            raise ValueError(f"{self.pooling} pooling needs a class token, which stands in no row and no column of the "
                             f"grid, so axial attention cannot reach it; allowed: {', '.join(POOLED)}")
        if self.registers:
            raise ValueError(f"{self.registers} registers stand in no row and no column of the grid, so axial "
                             "attention cannot reach them; leave them out")
        if self.positions not in ADDED:
            raise ValueError(f"{self.positions} positions act on the attention between any two patches, and axial "
                             f"attention has one row or column at a time; allowed: {', '.join(ADDED)}")
        return self

    @property
    def spans(self) -> tuple[int, ...]:
        """A row has as many patches as there are columns."""
        return self.grid[1], self.grid[0]


def recognize(name: str) -> dict[str, Any] | None:
    """The fields that `axial-B/32` stands for, or None for the name of another family."""
    return variants.recognize(name.removeprefix(PREFIX)) if name.startswith(PREFIX) else None


class AxialViT(ViT):
    """image -> patches -> tokens -> rows, columns, rows, columns, ... -> pooled -> logits"""

    config: AxialViTConfig

    def __init__(self, config: AxialViTConfig) -> None:
        super().__init__(config, block=AxialBlock)

    def encode_tokens(self, tokens: Tokens, first: int | None = None) -> Float[Tensor, "batch tokens width"]:
        """Patches after the last norm. `tokens` must be the whole grid in reading order; raises UsageError."""
        rows, columns = tokens.grid
        if tokens.values.shape[1] != rows * columns or tokens.places.dim() != 2:
            raise UsageError(f"{self.config.name} got {tokens.values.shape[1]} patches of a grid of {rows}x{columns}: "
                             "axial attention needs every patch of the grid, in reading order. Use a ViT where "
                             "patches are left out.")
        return super().encode_tokens(tokens, first)


class AxialBlock(nn.Module):
    """A block along rows, then one along columns, each with its own MLP."""

    def __init__(self, config: ViTConfig, drop_path: float = 0.0) -> None:
        super().__init__()
        self.row = Block(config, drop_path, LineAttention(config, "row"))
        self.column = Block(config, drop_path, LineAttention(config, "column"))

    def forward(
        self, values: Float[Tensor, "batch tokens width"], position: Position, tokens: Tokens, first: int | None = None
    ) -> Float[Tensor, "batch left width"]:
        return self.column(self.row(values, position, tokens), position, tokens, first)


class LineAttention(Attention):
    """Multi-head self-attention among the patches of one row, or of one column: lines are to the core what images are
    to that of a ViT, so it is given [batch * lines, heads, length, head_width]."""

    def __init__(self, config: ViTConfig, along: Line) -> None:
        super().__init__(config)
        self.along = along

    def forward(
        self, values: Float[Tensor, "batch tokens width"], position: Position, tokens: Tokens, first: int | None = None
    ) -> Float[Tensor, "batch left width"]:
        split = self.qkv(values).unflatten(-1, (3, self.heads, -1)).unflatten(1, tokens.grid)
        lines = tokens.grid[0 if self.along == "row" else 1]
        there, back = ((3, 0, 1, 4, 2, 5), (0, 1, 3, 2, 4)) if self.along == "row" else (
            (3, 0, 2, 4, 1, 5), (0, 3, 1, 2, 4))
        q, k, v = split.permute(there).contiguous().flatten(1, 2).unbind(0)  # copied for the reason given in Attention
        mixed = self.core(q, k, v).unflatten(0, (values.shape[0], lines)).permute(back)
        return self.dropout(self.out(mixed.flatten(3).flatten(1, 2)[:, :first]))
