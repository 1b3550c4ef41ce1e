"""One encoder block: attention, then the feed-forward layers, each after a norm and beside a shortcut."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor, nn

from vitrail.models.vit.attention import Attention
from vitrail.models.vit.config import ViTConfig
from vitrail.models.vit.feedforward import FeedForward
from vitrail.models.vit.norm import Norm
from vitrail.models.vit.positions import Position
from vitrail.vocabulary import Tokens


class Block(nn.Module):
    """z' = attention(norm(z)) + z;  z'' = feed_forward(norm(z')) + z'   (paper, equations 2 and 3)"""

    def __init__(self, config: ViTConfig, drop_path: float = 0.0, attention: nn.Module | None = None) -> None:
        """`attention`: what mixes the tokens; among all of them without."""
        super().__init__()
        self.norm1 = Norm(config.width, eps=config.norm_eps)
        self.attention: nn.Module = Attention(config) if attention is None else attention
        self.branch1 = Branch(config, drop_path)
        self.norm2 = Norm(config.width, eps=config.norm_eps)
        self.feed_forward = FeedForward(config)
        self.branch2 = Branch(config, drop_path)

    def forward(
        self, values: Float[Tensor, "batch tokens width"], position: Position, tokens: Tokens, first: int | None = None
    ) -> Float[Tensor, "batch left width"]:
        """`first`: compute only so many of the tokens. All of them are attended to."""
        mixed = self.attention(self.norm1(values), position, tokens, first)
        values = values[:, :first] + self.branch1(mixed)
        return values + self.branch2(self.feed_forward(self.norm2(values)))


class Branch(nn.Module):
    """Before a branch joins its shortcut: layer scale (2103.17239), stochastic depth (1603.09382)."""

    def __init__(self, config: ViTConfig, drop_path: float) -> None:
        super().__init__()
        self.drop_path = drop_path
        self.initial = config.layer_scale
        self.scale = nn.Parameter(torch.empty(config.width)) if config.layer_scale is not None else None

    def initialize(self) -> None:
        if self.scale is not None and self.initial is not None:
            nn.init.constant_(self.scale, self.initial)

    def forward(self, values: Float[Tensor, "batch tokens width"]) -> Float[Tensor, "batch tokens width"]:
        if self.scale is not None:
            values = values * self.scale
        if self.drop_path == 0.0 or not self.training:
            return values
        kept = torch.rand(values.shape[0], 1, 1, device=values.device) >= self.drop_path
        return values * (kept.to(values.dtype) / (1 - self.drop_path))
