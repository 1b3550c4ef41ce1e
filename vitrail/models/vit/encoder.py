"""The stack of blocks, with the position embeddings at the layers where they act."""

from __future__ import annotations

from jaxtyping import Float
from torch import Tensor, nn

from vitrail.models.vit.block import Block
from vitrail.models.vit.config import ViTConfig
from vitrail.models.vit.positions import Positions
from vitrail.vocabulary import Tokens


class Encoder(nn.Module):
    def __init__(self, config: ViTConfig) -> None:
        super().__init__()
        self.positions = Positions(config)
        self.dropout = nn.Dropout(config.dropout)
        self.pre_norm = nn.LayerNorm(config.width, eps=config.norm_eps) if config.pre_norm else nn.Identity()
        last = max(config.depth - 1, 1)
        self.blocks = nn.ModuleList(Block(config, config.drop_path * layer / last) for layer in range(config.depth))

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
            values = block(values, position, tokens, first if at_end else None)
        return values
