"""Which parameters move how: Adam, AdamW and SGD with momentum, and who is decayed."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Literal

import torch
from pydantic import BaseModel, ConfigDict, Field, PositiveFloat
from torch import Tensor, nn

from vitrail.training.rounding import RoundingAdamW

OptimizerName = Literal["adamw", "adam", "sgd"]
Decayed = Literal["kernels", "all", "none"]


class OptimizerSettings(BaseModel):
    """`weight_decay` is decoupled and multiplied by the learning rate, as the paper means it.

    Decayed by default: kernels only, that is the weights of dense layers and patch embeddings; no biases, norms,
    position embeddings, class tokens, registers, masks or layer scales (big_vision's rule).
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: OptimizerName = "adamw"
    learning_rate: PositiveFloat = 1e-3
    weight_decay: float = Field(0.1, ge=0)
    decayed: Decayed = "kernels"
    betas: tuple[float, float] = (0.9, 0.999)
    momentum: float = Field(0.9, ge=0, lt=1, description="of sgd")
    clip: PositiveFloat | None = Field(1.0, description="largest global norm of the gradient")
    layer_decay: float | None = Field(None, gt=0, le=1, description="each layer learns at so much of the rate of the "
                                      "one above it (2106.08254); all alike without")


def is_kernel(module: nn.Module, name: str) -> bool:
    """True for the weights of layers that multiply; tables and vectors are parameters of their own names."""
    return name == "weight" and not isinstance(module, nn.LayerNorm | nn.GroupNorm | nn.Embedding)


def kernel_names(model: nn.Module) -> set[str]:
    """Full names of the parameters that are decayed by default."""
    return {f"{prefix}.{name}".lstrip(".") for prefix, module in model.named_modules()
            for name, _ in module.named_parameters(recurse=False) if is_kernel(module, name)}


REPEATED = re.compile(r"(?:^|\.)(?:blocks\.\d+|stages\.\d+\.\d+)\.")
"""What stands in a parameter's name up to the number of its block or unit."""


def layer_numbers(names: Sequence[str]) -> list[int]:
    """How far up each parameter stands, of names in the order of the model: 0 for what comes before the first block,
    then the blocks, with what lies between two of them, then one number for norm and head."""
    blocks = [match and name[: match.end()] for name in names for match in [REPEATED.search(name)]]
    last = max((place for place, block in enumerate(blocks) if block), default=-1)
    met: set[str] = set()
    numbers = []
    for place, block in enumerate(blocks):
        met |= {block} if block else set()
        numbers.append(len(met) + (place > last))
    return numbers


def build_optimizer(
    settings: OptimizerSettings, parameters: Iterable[tuple[str, Tensor]], kernels: set[str],
    copies: Mapping[int, Tensor] | None = None,
) -> torch.optim.Optimizer:
    """An optimizer over named parameters, in groups that are decayed and learn alike. Every group keeps its names for
    checkpoints, and in `scale` its share of the learning rate. `copies`, by the id of a parameter: what a kernel of our
    own is to round them into (`Weights.rounded`)."""
    named = list(parameters)
    layers = layer_numbers([name for name, _ in named])
    alike: dict[tuple[bool, float], list[tuple[str, Tensor]]] = {}
    for (name, parameter), layer in zip(named, layers, strict=True):
        chosen = settings.decayed == "all" or (settings.decayed == "kernels" and name in kernels)
        scale = 1.0 if settings.layer_decay is None else settings.layer_decay ** (max(layers) - layer)
        alike.setdefault((chosen, scale), []).append((name, parameter))
    groups = [{"params": [p for _, p in group], "names": [n for n, _ in group], "scale": scale,
               "lr": scale * settings.learning_rate, "weight_decay": settings.weight_decay if chosen else 0.0}
              for (chosen, scale), group in sorted(alike.items(), key=lambda one: one[0], reverse=True)]
    if settings.name == "sgd":
        return DecoupledSGD(groups, lr=settings.learning_rate, momentum=settings.momentum)
    # With decay 0 Adam and AdamW are one; with decay the paper's Adam decouples it, which is AdamW.
    if copies is not None:
        return RoundingAdamW(groups, copies, lr=settings.learning_rate, betas=settings.betas)
    return torch.optim.AdamW(groups, lr=settings.learning_rate, betas=settings.betas, fused=True)


class DecoupledSGD(torch.optim.SGD):
    """SGD with momentum whose decay shrinks weights directly (by learning rate x decay), not through the momentum."""

    @torch.no_grad()
    def step(self, closure: None = None) -> None:  # type: ignore[override]
        decays = [group["weight_decay"] for group in self.param_groups]
        for group in self.param_groups:
            if group["weight_decay"]:
                torch._foreach_mul_(group["params"], 1 - group["lr"] * group["weight_decay"])
            group["weight_decay"] = 0.0
        super().step(closure)
        for group, decay in zip(self.param_groups, decays, strict=True):
            group["weight_decay"] = decay


def describe_decay(settings: OptimizerSettings, optimizer: torch.optim.Optimizer) -> str:
    """What is decayed, in words."""
    decayed = sum(len(group["params"]) for group in optimizer.param_groups if group["weight_decay"] > 0)
    total = sum(len(group["params"]) for group in optimizer.param_groups)
    kept = "no biases, norms, positions, class token" if settings.decayed == "kernels" else settings.decayed
    return f"weight decay {settings.weight_decay:g} on {decayed} of {total} tensors ({kept})"
