"""Tokens in front of the patches: the class token, then registers (2309.16588)."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor, nn

from vitrail.models.vit.config import ViTConfig


class Prefix(nn.Module):
    def __init__(self, config: ViTConfig) -> None:
        super().__init__()
        self.class_token = nn.Parameter(torch.empty(config.class_tokens, config.width))
        self.registers = nn.Parameter(torch.empty(config.registers, config.width))

    def initialize(self) -> None:
        """The class token from zeros, as the paper's code; registers need to differ from one another."""
        nn.init.zeros_(self.class_token)
        nn.init.normal_(self.registers, std=0.02)

    def forward(self, values: Float[Tensor, "batch patches width"]) -> Float[Tensor, "batch tokens width"]:
        front = torch.cat((self.class_token, self.registers))
        return torch.cat((front.expand(values.shape[0], -1, -1), values), dim=1)
