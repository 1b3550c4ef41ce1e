"""The stack of blocks, with the position embeddings at the layers where they act."""

from __future__ import annotations

from collections.abc import Callable

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from vitrail.models.vit.block import Block
from vitrail.models.vit.config import ViTConfig
from vitrail.models.vit.norm import Norm
from vitrail.models.vit.positions import Positions
from vitrail.vocabulary import Tokens


class Encoder(nn.Module):
    """`recompute`: keep only what enters each block, and compute its inside again in the backward pass. A third more
    work for a fraction of the memory; chosen before training, never in `forward`."""

    def __init__(self, config: ViTConfig, block: Callable[[ViTConfig, float], nn.Module] = Block) -> None:
        """`block`: the config and a rate of stochastic depth -> a block."""
        super().__init__()
        self.positions = Positions(config)
        self.dropout = nn.Dropout(config.dropout)
        self.pre_norm = Norm(config.width, eps=config.norm_eps) if config.pre_norm else nn.Identity()
        last = max(config.depth - 1, 1)
        self.recompute = False
        self.blocks = nn.ModuleList(block(config, config.drop_path * layer / last) for layer in range(config.depth))

    def forward(
        self, values: Float[Tensor, "batch tokens width"], tokens: Tokens, first: int | None = None
    ) -> Float[Tensor, "batch left width"]:
        """`values` with the prefix in front; `tokens` says where the patches among them are. `first`: how many tokens
        anybody reads. The last block computes no others: for a class token that is most of a block less."""
        for layer, block in enumerate(self.blocks):
            position = self.positions.at(layer)
            values = position.add(values, tokens)
            if layer == 0:
                values = self.pre_norm(self.dropout(values))  # directly after adding positions (paper, appendix B.1)
            at_end = layer == len(self.blocks) - 1
            left = first if at_end else None
            if self.recompute and torch.is_grad_enabled():
                values = checkpoint(block, values, position, tokens, left, use_reentrant=False)
            else:
                values = block(values, position, tokens, left)
        return values
