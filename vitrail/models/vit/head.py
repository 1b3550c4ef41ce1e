"""One vector -> logits: the paper's tanh layer where there is one, then a linear layer that starts from zero."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor, nn

from vitrail.models.vit.config import ViTConfig
from vitrail.models.vit.patches import lecun_normal_


class Hidden(nn.Module):
    """The pre-training head's hidden layer (`pre_logits` in published files)."""

    def __init__(self, width: int, hidden: int) -> None:
        super().__init__()
        self.linear = nn.Linear(width, hidden)

    def initialize(self) -> None:
        lecun_normal_(self.linear.weight, fan_in=self.linear.in_features)
        nn.init.zeros_(self.linear.bias)

    def forward(self, values: Float[Tensor, "batch width"]) -> Float[Tensor, "batch hidden"]:
        return torch.tanh(self.linear(values))


class Head(nn.Linear):
    """embedding -> classes, zero weights and a constant bias at the start."""

    def __init__(self, config: ViTConfig) -> None:
        super().__init__(config.embedding, config.classes)
        self.initial_bias = config.head_bias

    def initialize(self) -> None:
        nn.init.zeros_(self.weight)
        nn.init.constant_(self.bias, self.initial_bias)
