"""All tokens -> one vector: class tokens, the mean of the patches (GAP), both, or attention pooling (MAP)."""

from __future__ import annotations

from collections.abc import Callable

import torch
from jaxtyping import Float
from torch import Tensor, nn

from vitrail.models.vit.attention import AttentionCore
from vitrail.models.vit.config import Pooling, ViTConfig
from vitrail.models.vit.feedforward import FeedForward
from vitrail.models.vit.norm import Norm


class TokenPooling(nn.Module):
    """The class token; or, side by side, the class and distillation tokens (DeiT, 2012.12877), whose two heads
    averaged are one linear layer."""

    def __init__(self, config: ViTConfig) -> None:
        super().__init__()
        self.class_tokens = config.class_tokens

    def forward(self, values: Float[Tensor, "batch tokens width"]) -> Float[Tensor, "batch pooled"]:
        return values[:, : self.class_tokens].flatten(1)


class MeanPooling(nn.Module):
    def __init__(self, config: ViTConfig) -> None:
        super().__init__()
        self.prefix = config.prefix

    def forward(self, values: Float[Tensor, "batch tokens width"]) -> Float[Tensor, "batch width"]:
        return values[:, self.prefix :].mean(dim=1)


class TokenAndMean(nn.Module):
    """The class token beside the mean of the patches: what DINOv2's linear heads see (2304.07193)."""

    def __init__(self, config: ViTConfig) -> None:
        super().__init__()
        self.prefix = config.prefix

    def forward(self, values: Float[Tensor, "batch tokens width"]) -> Float[Tensor, "batch pooled"]:
        return torch.cat((values[:, 0], values[:, self.prefix :].mean(dim=1)), dim=1)


class AttentionPooling(nn.Module):
    """One learned query gathers from all patches, then a feed-forward layer (2106.04560; big_vision's MAP head)."""

    def __init__(self, config: ViTConfig) -> None:
        super().__init__()
        self.heads, self.prefix = config.heads, config.prefix
        self.probe = nn.Parameter(torch.empty(1, config.width))
        self.query = nn.Linear(config.width, config.width)
        self.key_value = nn.Linear(config.width, 2 * config.width)
        self.core = AttentionCore()
        self.out = nn.Linear(config.width, config.width)
        self.norm = Norm(config.width, eps=config.norm_eps)
        self.feed_forward = FeedForward(config.model_copy(update={"dropout": 0.0}))

    def initialize(self) -> None:
        for weight in (self.probe, self.query.weight, *self.key_value.weight.chunk(2), self.out.weight):
            nn.init.xavier_uniform_(weight)
        for layer in (self.query, self.key_value, self.out):
            nn.init.zeros_(layer.bias)

    def forward(self, values: Float[Tensor, "batch tokens width"]) -> Float[Tensor, "batch width"]:
        patches = values[:, self.prefix :]
        query = self.query(self.probe).expand(values.shape[0], 1, -1)
        q = query.unflatten(-1, (self.heads, -1)).transpose(1, 2)
        k, v = self.key_value(patches).unflatten(-1, (2, self.heads, -1)).permute(2, 0, 3, 1, 4).unbind(0)
        gathered = self.out(self.core(q, k, v).transpose(1, 2).flatten(2))
        return (gathered + self.feed_forward(self.norm(gathered)))[:, 0]


def build_pooling(config: ViTConfig) -> nn.Module:
    return POOLINGS[config.pooling](config)


POOLINGS: dict[Pooling, Callable[[ViTConfig], nn.Module]] = {
    "token": TokenPooling,
    "mean": MeanPooling,
    "attention": AttentionPooling,
    "token+mean": TokenAndMean,
    "distilled": TokenPooling,
}
