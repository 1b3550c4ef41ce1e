"""A Vision Transformer written out in float64 from the formulas of the paper, with the relevance of 2103.15679 by
explicit gradients. It shares nothing with the package but the names of the weights."""

from __future__ import annotations

import math
from collections.abc import Mapping

import torch
from torch import Tensor

Weights = Mapping[str, Tensor]


def doubled(model: torch.nn.Module) -> dict[str, Tensor]:
    return {name: value.detach().double() for name, value in model.state_dict().items()}


def linear(weights: Weights, name: str, values: Tensor) -> Tensor:
    return values @ weights[f"{name}.weight"].T + weights[f"{name}.bias"]


def norm(weights: Weights, name: str, values: Tensor) -> Tensor:
    away = values - values.mean(-1, keepdim=True)
    return away / (away.square().mean(-1, keepdim=True) + 1e-6).sqrt() * weights[f"{name}.weight"] + weights[
        f"{name}.bias"]


def attend(queries: Tensor, keys: Tensor, values: Tensor, heads: int, kept: list[Tensor],
           allowed: Tensor | None = None) -> Tensor:
    """[tokens, width] each; the weights of all heads are kept."""
    q, k, v = (part.reshape(len(part), heads, -1).transpose(0, 1) for part in (queries, keys, values))
    scores = q @ k.transpose(1, 2) / math.sqrt(q.shape[-1])
    if allowed is not None:
        scores = scores.masked_fill(~allowed, -math.inf)
    shares = torch.exp(scores - scores.amax(-1, keepdim=True))
    shares = shares / shares.sum(-1, keepdim=True)
    shares.retain_grad()
    kept.append(shares)
    return (shares @ v).transpose(0, 1).reshape(len(queries), -1)


def gelu(values: Tensor) -> Tensor:
    return 0.5 * values * (1 + torch.tanh(math.sqrt(2 / math.pi) * (values + 0.044715 * values**3)))


def feed_forward(weights: Weights, name: str, values: Tensor) -> Tensor:
    return linear(weights, f"{name}.contract", gelu(linear(weights, f"{name}.expand", values)))


def block(weights: Weights, name: str, values: Tensor, heads: int, kept: list[Tensor],
          allowed: Tensor | None = None) -> Tensor:
    q, k, v = linear(weights, f"{name}.attention.qkv", norm(weights, f"{name}.norm1", values)).chunk(3, -1)
    values = values + linear(weights, f"{name}.attention.out", attend(q, k, v, heads, kept, allowed))
    return values + feed_forward(weights, f"{name}.feed_forward", norm(weights, f"{name}.norm2", values))


def relevance_by_hand(weights: Weights, patches: Tensor, grid: tuple[int, int], target: int, *, heads: int, depth: int,
                      pooling: str, prefix: int, axial: bool = False) -> Tensor:
    """`patches` [patches, width] before positions -> [rows, columns]."""
    values = patches.detach().double().requires_grad_() + weights["encoder.positions.tables.0.table"]
    front = torch.cat((weights["prefix.class_token"] + weights["encoder.positions.tables.0.class_position"],
                       weights["prefix.registers"]))
    values = torch.cat((front, values))
    kept: list[Tensor] = []
    place = torch.arange(grid[0] * grid[1])
    lines = {"row": place // grid[1], "column": place % grid[1]} if axial else {"": place}
    for layer in range(depth):
        for part, line in lines.items():
            name = f"encoder.blocks.{layer}" + f".{part}" * axial
            values = block(weights, name, values, heads, kept, line[:, None] == line if axial else None)
    values = norm(weights, "norm", values)
    pooled = {"token": values[0], "mean": values[prefix:].mean(0),
              "token+mean": torch.cat((values[0], values[prefix:].mean(0))),
              "attention": by_query(weights, values[prefix:], heads, kept) if pooling == "attention" else values[0],
              }[pooling]
    linear(weights, "head", pooled)[target].backward()
    through = torch.eye(len(values), dtype=torch.float64)
    layers = kept[: depth * len(lines)]
    for shares in layers:
        through = through + helpful(shares) @ through
    beyond = (through - torch.eye(len(values), dtype=torch.float64))[prefix:].mean(0)  # each patch itself: all alike
    read = {"token": through[0], "mean": beyond, "token+mean": (through[0] + beyond) / 2,
            "attention": (helpful(kept[-1]) @ through[prefix:])[0] if pooling == "attention" else through[0]}[pooling]
    return read[prefix:].reshape(grid)


def by_query(weights: Weights, patches: Tensor, heads: int, kept: list[Tensor]) -> Tensor:
    k, v = linear(weights, "pool.key_value", patches).chunk(2, -1)
    query = linear(weights, "pool.query", weights["pool.probe"])
    gathered = linear(weights, "pool.out", attend(query, k, v, heads, kept))
    return (gathered + feed_forward(weights, "pool.feed_forward", norm(weights, "pool.norm", gathered)))[0]


def helpful(shares: Tensor) -> Tensor:
    assert shares.grad is not None
    return (shares * shares.grad).clamp(min=0).mean(0).detach()
