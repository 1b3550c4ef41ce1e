"""One vector -> logits: the paper's tanh layer or CLIP's projection where there is one, then a linear layer that starts
from zero."""

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


class Projection(nn.Linear):
    """To the space that images share with texts (CLIP, 2103.00020)."""

    def __init__(self, width: int, projection: int) -> None:
        super().__init__(width, projection, bias=False)

    def initialize(self) -> None:
        lecun_normal_(self.weight, fan_in=self.in_features)


class Head(nn.Linear):
    """embedding -> classes, zero weights and a constant bias at the start."""

    def __init__(self, config: ViTConfig) -> None:
        super().__init__(config.embedding, config.classes)
        self.initial_bias = config.head_bias

    def initialize(self) -> None:
        nn.init.zeros_(self.weight)
        nn.init.constant_(self.bias, self.initial_bias)
