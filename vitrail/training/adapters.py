"""LoRA (2106.09685): the large products stay as they are, and each learns a correction of low rank beside it.

    weight + scale * up @ down        up starts from zeros, so the first step begins with the model as it was

Corrections are parametrizations: the model's code still reads `layer.weight`. They are merged into plain weights for
the Bundle, or removed.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.utils import parametrize

from vitrail.errors import UnknownNameError
from vitrail.training.freeze import is_named

INSIDE = ".parametrizations.weight."
ORIGINAL, UP, DOWN = INSIDE + "original", INSIDE + "0.up", INSIDE + "0.down"


class LowRank(nn.Module):
    """[outputs, inputs] -> the same plus a product of [outputs, rank] and [rank, inputs]."""

    def __init__(self, outputs: int, inputs: int, rank: int, scale: float) -> None:
        super().__init__()
        self.scale = scale
        self.up = nn.Parameter(torch.zeros(outputs, rank))
        self.down = nn.Parameter(torch.empty(rank, inputs))
        nn.init.kaiming_uniform_(self.down, a=math.sqrt(5))

    def forward(self, weight: Float[Tensor, "outputs inputs"]) -> Float[Tensor, "outputs inputs"]:
        return torch.addmm(weight, self.up, self.down, alpha=self.scale)


def adapt(model: nn.Module, rank: int, scale: float, layers: Sequence[str], trained: Sequence[str]) -> list[str]:
    """Give the linear layers that `layers` name a correction, and freeze all else but what `trained` names.

    Names are patterns as `freeze` takes them. Returns the adapted layers. Raises UnknownNameError for a pattern that
    names none.
    """
    linear = {name: part for name, part in model.named_modules() if isinstance(part, nn.Linear)}
    chosen: dict[str, nn.Linear] = {}
    for pattern in layers:
        found = {name: part for name, part in linear.items() if is_named(name, pattern)}
        if not found:
            raise UnknownNameError("linear layer", pattern, linear)
        chosen |= found
    for name, parameter in model.named_parameters():
        parameter.requires_grad_(any(is_named(name, pattern) for pattern in trained))
    for part in chosen.values():
        device = part.weight.device
        correction = LowRank(part.out_features, part.in_features, rank, scale).to(device, part.weight.dtype)
        parametrize.register_parametrization(part, "weight", correction)
    return list(chosen)


def merged(state: dict[str, Tensor], scale: float) -> dict[str, Tensor]:
    """The state of the plain model: every correction added to its weight."""
    plain = {name: value for name, value in state.items() if not name.endswith((ORIGINAL, UP, DOWN))}
    for name, weight in state.items():
        if name.endswith(ORIGINAL):
            layer = name.removesuffix(ORIGINAL)
            plain[f"{layer}.weight"] = torch.addmm(weight, state[layer + UP], state[layer + DOWN], alpha=scale)
    return plain


def remove(model: nn.Module) -> None:
    """In place: the plain model as it was before `adapt`."""
    for part in list(model.modules()):
        if parametrize.is_parametrized(part, "weight"):
            original = part.parametrizations["weight"].original  # type: ignore[union-attr, index]
            parametrize.remove_parametrizations(part, "weight", leave_parametrized=False)
            assert part.weight is original
