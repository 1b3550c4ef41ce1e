"""Which parameters move how: Adam, AdamW and SGD with momentum, and who is decayed."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal

import torch
from pydantic import BaseModel, ConfigDict, Field, PositiveFloat
from torch import Tensor, nn

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


def is_kernel(module: nn.Module, name: str) -> bool:
    """True for the weights of layers that multiply; tables and vectors are parameters of their own names."""
    return name == "weight" and not isinstance(module, nn.LayerNorm | nn.GroupNorm | nn.Embedding)


def kernel_names(model: nn.Module) -> set[str]:
    """Full names of the parameters that are decayed by default."""
    return {f"{prefix}.{name}".lstrip(".") for prefix, module in model.named_modules()
            for name, _ in module.named_parameters(recurse=False) if is_kernel(module, name)}


def build_optimizer(
    settings: OptimizerSettings, parameters: Iterable[tuple[str, Tensor]], kernels: set[str]
) -> torch.optim.Optimizer:
    """An optimizer over named parameters in two groups, decayed first. Every group keeps its names for checkpoints."""
    decayed: list[tuple[str, Tensor]] = []
    free: list[tuple[str, Tensor]] = []
    for name, parameter in parameters:
        chosen = settings.decayed == "all" or (settings.decayed == "kernels" and name in kernels)
        (decayed if chosen else free).append((name, parameter))
    groups = [{"params": [p for _, p in group], "names": [n for n, _ in group], "weight_decay": decay}
              for group, decay in ((decayed, settings.weight_decay), (free, 0.0)) if group]
    if settings.name == "sgd":
        return DecoupledSGD(groups, lr=settings.learning_rate, momentum=settings.momentum)
    # With decay 0 Adam and AdamW are one; with decay the paper's Adam decouples it, which is AdamW.
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
