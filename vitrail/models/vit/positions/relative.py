"""The paper's relative attention (appendix D.4): one learned key per offset between query and key, 1-D.

The queries meet these extra keys, and the scores are added before the softmax. The sequence is the class token and
registers followed by the patches in reading order, so offsets reach from -(tokens - 1) to tokens - 1.
"""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor, nn

from vitrail.models.vit.config import ViTConfig
from vitrail.models.vit.positions.learned import STD
from vitrail.models.vit.positions.position import Position, patch_index
from vitrail.models.vit.resize import resize_line
from vitrail.vocabulary import Tokens


class Relative(Position):
    """Scores by offset. On another grid, offsets along rows and columns are scaled to the grid of the table."""

    def __init__(self, config: ViTConfig) -> None:
        super().__init__()
        self.home, self.reach = config.grid, config.tokens - 1
        self.offset_keys = nn.Parameter(torch.empty(config.heads, 2 * self.reach + 1, config.head_width))

    def initialize(self) -> None:
        nn.init.normal_(self.offset_keys, std=STD)

    def bias(self, queries: Float[Tensor, "batch heads tokens head_width"], tokens: Tokens) -> Tensor | None:
        scale = queries.shape[-1] ** -0.5
        by_offset = torch.einsum("bhtd,hod->bhto", queries * scale, self.keys_for(tokens))
        order = self.order(tokens, queries.shape[2])
        reach = (by_offset.shape[-1] - 1) // 2
        offsets = (order[..., :, None] - order[..., None, :] + reach).clamp(0, 2 * reach)
        offsets = offsets if offsets.dim() == 2 else offsets[:, None]
        return by_offset.gather(-1, offsets.expand(*by_offset.shape[:2], *offsets.shape[-2:]))

    def keys_for(self, tokens: Tokens) -> Float[Tensor, "heads offsets head_width"]:
        """The table stretched to the reach of this grid's sequence."""
        patches = tokens.grid[0] * tokens.grid[1]
        prefix = self.reach + 1 - self.home[0] * self.home[1]
        reach = prefix + patches - 1
        if tokens.grid == self.home:
            return self.offset_keys
        return torch.stack([resize_line(table, 2 * reach + 1) for table in self.offset_keys])

    def order(self, tokens: Tokens, length: int) -> Tensor:
        """Place of every token in the 1-D sequence, [tokens] or [batch, tokens]."""
        patches = patch_index(tokens)
        prefix = length - patches.shape[-1]
        front = torch.arange(-prefix, 0, device=patches.device).expand(*patches.shape[:-1], prefix)
        return torch.cat((front, patches), dim=-1)
