"""AxialResNet (paper, appendix D.6): BiT with axial attention in place of every 3x3 convolution.

    axial-R50   axial-R50x0.5   axial-R26x0.25   any depth and width, as of BiT

As Axial-DeepLab (2003.07853, equation 5) and its authors' code (github.com/csrhddlam/axial-deeplab, which the paper
names as the implementation it compares itself with) have it:
- position-sensitive attention: queries and keys each meet a learned vector of the offset, and values have one added;
  these tables belong to one layer, are shared by its heads and start from variance 1 / head width;
- 8 heads at every width, queries and keys half as wide as values, no bias and no product after the attention;
- a norm after the product that makes queries, keys and values; a stride is a mean of 2 x 2 places after the attention.

Ours, so that it is the BiT beside it in all else: the units are BiT's (pre-activation, four times as wide outside as
inside, where the reference has post-activation and twice), kernels are standardized, norms are group norms. Rows come
first, as the paper says of the Axial-ViT, where the reference has columns first. Scores are scaled by the root of the
width, where the reference normalizes them over the batch; what leaves the attention has no norm, since one follows.
"""

from __future__ import annotations

import math
from typing import Any, Literal

import torch
import torch.nn.functional as F
from jaxtyping import Float
from pydantic import Field, PositiveInt, model_validator
from torch import Tensor, nn

from vitrail.models import bit
from vitrail.models.bit import BiT, BiTConfig
from vitrail.models.convolution import ROOT_CHANNELS, StandardizedConv, Style, UnitSize, group_norm
from vitrail.models.vit.attention import AttentionCore, attention_weights
from vitrail.models.vit.positions.relative import scaled
from vitrail.vocabulary import Size

PREFIX = "axial-"
KNOWN_NAMES = [PREFIX + name for name in ("R26", "R26x0.25", "R50", "R50x0.5", "R101", "R152")]


class AxialResNetConfig(BiTConfig):
    """A BiT whose units attend along rows and columns of their maps."""

    family: Literal["axial-resnet"] = "axial-resnet"  # type: ignore[assignment]  # by which the families differ
    heads: PositiveInt = Field(8, description="attention heads, the same number at every stage")

    @model_validator(mode="after")
    def _heads_fit(self) -> AxialResNetConfig:
        if self.root % (2 * self.heads):
            step = math.lcm(2 * self.heads, 8) / ROOT_CHANNELS
            lower = max(int(self.width / step), 1) * step
            raise ValueError(f"width {self.width:g} makes {self.root} channels, which {self.heads} heads with queries "
                             f"half as wide as values cannot share; use width {lower:g} or {lower + step:g}, or "
                             "other heads")
        return self

    def at(self, number: int, stride: int) -> tuple[int, Size]:
        """Channels, and rows and columns, of the map that attention reads in a stage's unit of that stride."""
        return self.root * 2**number, self.map_size(number if stride == 1 else number - 1)


def recognize(name: str) -> dict[str, Any] | None:
    """The fields that `axial-R50` or `axial-R26x0.25` stands for, or None for the name of another family."""
    if not name.startswith(PREFIX):
        return None
    resnet = name.removeprefix(PREFIX)
    return bit.recognize(resnet if "x" in resnet else f"{resnet}x1")


class AxialResNet(BiT):
    """image -> root -> stages -> norm -> mean -> logits"""

    config: AxialResNetConfig

    def __init__(self, config: AxialResNetConfig) -> None:
        super().__init__(config, axial_attention)

    def initialize(self) -> None:
        super().initialize()
        for part in self.modules():
            if isinstance(part, RowAttention):
                part.initialize()


def axial_attention(config: BiTConfig, size: UnitSize) -> nn.Module:
    """What replaces the 3x3 convolution of a unit."""
    assert isinstance(config, AxialResNetConfig)
    channels, map_size = config.at(size.stage, size.stride)
    return AxialAttention(config.style, channels, config.heads, map_size, size.stride)


class AxialAttention(nn.Module):
    """Along rows, then along columns; then the mean of stride x stride places, at an odd border of those there are."""

    def __init__(self, style: Style, channels: int, heads: int, size: Size, stride: int) -> None:
        super().__init__()
        self.row = RowAttention(style, channels, heads, places=size[1])
        self.column = RowAttention(style, channels, heads, places=size[0])
        self.stride = stride

    def forward(self, values: Float[Tensor, "batch channels rows columns"]) -> Float[Tensor, "batch channels _ _"]:
        values = self.column(self.row(values).transpose(2, 3)).transpose(2, 3)
        return values if self.stride == 1 else F.avg_pool2d(values, self.stride, ceil_mode=True)


class RowAttention(nn.Module):
    """Every place of a map attends to those of its row: softmax(q k + q r + k r') (v + r''), where r, r' and r'' are
    vectors of the offset between the two places.

    A table has a row for each offset among `places`, -(places - 1) first. On a map of another size offsets are read by
    location, as those of a ViT's relative positions are (corners on corners, linear between whole offsets).
    """

    def __init__(self, style: Style, channels: int, heads: int, places: int) -> None:
        super().__init__()
        self.heads, self.places = heads, places
        head_width = channels // heads
        self.widths = head_width // 2, head_width // 2, head_width
        self.qkv = StandardizedConv(style, channels, 2 * channels, side=1)
        self.norm = group_norm(style, 2 * channels)
        self.core = PositionSensitiveCore()
        self.query_offsets, self.key_offsets, self.value_offsets = (
            nn.Parameter(torch.empty(2 * places - 1, width)) for width in self.widths)

    def initialize(self) -> None:
        for table in (self.query_offsets, self.key_offsets, self.value_offsets):
            nn.init.normal_(table, std=self.widths[-1] ** -0.5)

    def forward(
        self, values: Float[Tensor, "batch channels rows columns"]
    ) -> Float[Tensor, "batch channels rows columns"]:
        batch, _, rows, columns = values.shape
        split = self.norm(self.qkv(values)).unflatten(1, (self.heads, -1)).permute(0, 3, 1, 4, 2)
        q, k, v = split.flatten(0, 1).split(self.widths, dim=-1)  # [batch * rows, heads, columns, width] each
        mixed = self.core(q, k, v, self.bias(q, k), self.by_pair(self.value_offsets, columns))
        return mixed.unflatten(0, (batch, rows)).permute(0, 2, 4, 1, 3).flatten(1, 2)

    def bias(
        self, queries: Float[Tensor, "lines heads columns width"], keys: Float[Tensor, "lines heads columns width"]
    ) -> Float[Tensor, "lines heads columns columns"]:
        columns, scale = queries.shape[2], queries.shape[-1] ** -0.5
        of_queries = torch.einsum("bhid,ijd->bhij", queries, scale * self.by_pair(self.query_offsets, columns))
        return of_queries + torch.einsum("bhjd,ijd->bhij", keys, scale * self.by_pair(self.key_offsets, columns))

    def by_pair(
        self, table: Float[Tensor, "offsets width"], columns: int
    ) -> Float[Tensor, "columns columns width"]:
        """The vector of each pair of query and key in a line of `columns` places."""
        at = torch.arange(columns, device=table.device)
        parts = [table[offsets + self.places - 1] * share[..., None].to(table.dtype)
                 for offsets, share in scaled(at[:, None] - at, columns, self.places)]
        return torch.stack(parts).sum(0)


class PositionSensitiveCore(AttentionCore):
    """The attention core with a vector added to each value for each query. By products always: what differs from pair
    to pair is nothing that a fused kernel takes."""

    def forward(  # type: ignore[override]  # one thing more is given
        self,
        queries: Float[Tensor, "lines heads tokens head_width"],
        keys: Float[Tensor, "lines heads others head_width"],
        values: Float[Tensor, "lines heads others value_width"],
        bias: Float[Tensor, "lines heads tokens others"],
        added: Float[Tensor, "tokens others value_width"],
    ) -> Float[Tensor, "lines heads tokens value_width"]:
        weights = attention_weights(queries, keys, bias)
        return torch.matmul(weights, values) + torch.einsum("bhij,ijd->bhid", weights, added)
