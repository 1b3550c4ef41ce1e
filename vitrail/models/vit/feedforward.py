"""The two dense layers of a block, with GELU (the paper), CLIP's quick one or a gated unit between them."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from vitrail import native
from vitrail.models.vit.config import FeedForwardKind, ViTConfig


class FeedForward(nn.Module):
    """width -> mlp -> width; dropout after both dense layers (paper, appendix B.1).

    `native`: bias and GELU by a kernel of our own; chosen by measurement (`training/backend.py`), never in `forward`.
    """

    native = False

    def __init__(self, config: ViTConfig) -> None:
        super().__init__()
        self.kind: FeedForwardKind = config.feedforward
        gates = 2 if self.kind == "swiglu" else 1
        self.expand = nn.Linear(config.width, gates * config.mlp)
        self.contract = nn.Linear(config.mlp, config.width)
        self.dropout = nn.Dropout(config.dropout)

    def initialize(self) -> None:
        for layer in (self.expand, self.contract):
            nn.init.xavier_uniform_(layer.weight)
            nn.init.normal_(layer.bias, std=1e-6)

    def forward(self, values: Float[Tensor, "batch tokens width"]) -> Float[Tensor, "batch tokens width"]:
        return self.dropout(self.contract(self.dropout(self.expanded(values))))

    def expanded(self, values: Float[Tensor, "batch tokens width"]) -> Float[Tensor, "batch tokens mlp"]:
        if self.native and self.kind in ("gelu", "gelu-tanh"):
            product, bias = native.without_bias(self.expand, values)
            if bias is not None and native.takes(product):
                return native.gelu(product, bias, tanh=self.kind == "gelu-tanh")
            return self.activate(product if bias is None else product + bias)
        return self.activate(self.expand(values))

    def activate(self, values: Tensor) -> Tensor:
        if self.kind == "swiglu":
            gate, linear = values.chunk(2, dim=-1)
            return F.silu(gate) * linear
        if self.kind == "gelu-quick":
            return values * torch.sigmoid(1.702 * values)
        return F.gelu(values, approximate="tanh" if self.kind == "gelu-tanh" else "none")
