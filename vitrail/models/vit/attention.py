"""Multi-head self-attention. The core is a module of its own, so that inspection can record its queries and keys."""

from __future__ import annotations

from typing import Literal

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from vitrail import native
from vitrail.models.vit.config import INSIDE, ViTConfig
from vitrail.models.vit.positions import Position
from vitrail.vocabulary import Tokens

Kernel = Literal["fused", "products", "native"]


class AttentionCore(nn.Module):
    """softmax(q k^T / sqrt(head_width) + bias) v, with queries and keys after any rotation.

    `kernel` is chosen by measurement (`training/backend.py`) before compiling or exporting, never in `forward`:
    torch's fused one is several times slower than plain products for short bf16 sequences on some processors. The
    native one takes queries, keys and values as the dense layer gives them (`mix`); where it cannot, products do.
    """

    def __init__(self) -> None:
        super().__init__()
        self.kernel: Kernel = "fused"

    def forward(
        self,
        queries: Float[Tensor, "batch heads tokens head_width"],
        keys: Float[Tensor, "batch heads others head_width"],
        values: Float[Tensor, "batch heads others head_width"],
        bias: Tensor | None = None,
    ) -> Float[Tensor, "batch heads tokens head_width"]:
        if self.kernel == "fused":
            return F.scaled_dot_product_attention(queries, keys, values, attn_mask=bias)
        return torch.matmul(attention_weights(queries, keys, bias), values)


def mix(core: AttentionCore, values: Float[Tensor, "batch tokens width"], dense: nn.Module,
        heads: int) -> Float[Tensor, "batch tokens width"]:
    """Attention among all tokens, neither biased nor rotated. `dense`: values -> queries, keys and values in a row."""
    if core.kernel != "native":
        return joined(core(*split(dense(values), heads)))
    qkv, bias = native.without_bias(dense, values)
    if native.takes(qkv, qkv.shape[-1] // 3 // heads):
        return native.attention(qkv, bias, heads)
    return joined(core(*split(qkv if bias is None else qkv + bias, heads)))


def split(qkv: Float[Tensor, "batch tokens three_widths"], heads: int) -> tuple[Tensor, Tensor, Tensor]:
    """Queries, keys and values, each [batch, heads, tokens, head_width]."""
    q, k, v = qkv.unflatten(-1, (3, heads, -1)).permute(2, 0, 3, 1, 4).contiguous().unbind(0)
    return q, k, v  # one copy here is cheaper than strided products forward and backward


def joined(mixed: Float[Tensor, "batch heads tokens head_width"]) -> Float[Tensor, "batch tokens width"]:
    return mixed.transpose(1, 2).flatten(2)


def attention_weights(queries: Tensor, keys: Tensor, bias: Tensor | None = None) -> Tensor:
    """How much each token attends to each other one: [batch, heads, tokens, others], rows summing to one."""
    scores = torch.matmul(queries * queries.shape[-1] ** -0.5, keys.transpose(-1, -2))
    return torch.softmax(scores if bias is None else scores + bias, dim=-1)


class Attention(nn.Module):
    """Queries, keys and values from one product, heads side by side; dropout after the output projection only."""

    def __init__(self, config: ViTConfig) -> None:
        super().__init__()
        self.heads = config.heads
        self.asks_for_all = config.positions in INSIDE
        self.qkv = nn.Linear(config.width, 3 * config.width, bias=config.qkv_bias)
        self.core = AttentionCore()
        self.out = nn.Linear(config.width, config.width)
        self.dropout = nn.Dropout(config.dropout)

    def initialize(self) -> None:
        """Xavier uniform for each of q, k and v on its own, as separate layers would be drawn."""
        for part in self.qkv.weight.chunk(3):
            nn.init.xavier_uniform_(part)
        nn.init.xavier_uniform_(self.out.weight)
        for layer in (self.qkv, self.out):
            if layer.bias is not None:
                nn.init.zeros_(layer.bias)

    def forward(
        self, values: Float[Tensor, "batch tokens width"], position: Position, tokens: Tokens, first: int | None = None
    ) -> Float[Tensor, "batch left width"]:
        """`first`: queries of only so many tokens, so that many come out."""
        if self.core.kernel == "native" and first is None and not self.asks_for_all:
            return self.dropout(self.out(mix(self.core, values, self.qkv, self.heads)))
        whole = first is None or self.asks_for_all
        q, k, v = split(self.qkv(values), self.heads) if whole else self.project_few(values, first)
        q, k = position.rotate(q, tokens), position.rotate(k, tokens)
        mixed = self.core(q, k, v, position.bias(q, tokens))
        return self.dropout(self.out(joined(mixed[:, :, :first])))

    def project_few(self, values: Float[Tensor, "batch tokens width"],
                    first: int | None) -> tuple[Tensor, Tensor, Tensor]:
        """The same with the queries of the `first` tokens only."""
        width, bias = values.shape[-1], self.qkv.bias
        asking = values[:, :first].contiguous()  # of a strided one, torch sums in another order where weights learn
        q = F.linear(asking, self.qkv.weight[:width], None if bias is None else bias[:width])
        kv = F.linear(values, self.qkv.weight[width:], None if bias is None else bias[width:])
        k, v = kv.unflatten(-1, (2, self.heads, -1)).permute(2, 0, 3, 1, 4).contiguous().unbind(0)
        return q.unflatten(-1, (self.heads, -1)).transpose(1, 2), k, v
