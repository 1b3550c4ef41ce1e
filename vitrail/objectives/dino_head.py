"""The heads of self-distillation: an MLP, a bottleneck of length 1, and its cosines with learned prototypes."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

if TYPE_CHECKING:
    from vitrail.objectives.dino import DinoSettings

LAST = "prototypes.weight"


class Head(nn.Module):
    """features -> three dense layers with GELU -> length 1 -> cosines. Only the direction of a prototype counts, as
    with DINO's weight norm whose gain is fixed."""

    def __init__(self, width: int, settings: DinoSettings) -> None:
        super().__init__()
        self.mlp = nn.Sequential(
            nn.Linear(width, settings.hidden), nn.GELU(), nn.Linear(settings.hidden, settings.hidden), nn.GELU(),
            nn.Linear(settings.hidden, settings.bottleneck))
        self.prototypes = nn.Linear(settings.bottleneck, settings.prototypes, bias=False)
        for layer in self.mlp:
            if isinstance(layer, nn.Linear):  # at the published width of 2048 this is the published 0.02
                nn.init.trunc_normal_(layer.weight, std=layer.in_features**-0.5)
                nn.init.zeros_(layer.bias)

    def macs(self) -> int:
        return sum(layer.in_features * layer.out_features for layer in (*self.mlp, self.prototypes)
                   if isinstance(layer, nn.Linear))

    def forward(self, features: Float[Tensor, "some width"]) -> Float[Tensor, "some prototypes"]:
        """Cosines in fp32: divided by a temperature, what bf16 rounds off would be as large as what they differ by."""
        directions = F.normalize(self.mlp(features).float(), dim=-1)
        return F.linear(directions, F.normalize(self.prototypes.weight.float(), dim=-1))


class Heads(nn.Module):
    """One for images, and one of their own for patches where that is asked for."""

    def __init__(self, width: int, settings: DinoSettings, patch_width: int = 0) -> None:
        super().__init__()
        self.images = Head(width, settings)
        own = patch_width and (settings.ibot.head == "own" or patch_width != width)
        self.patches = Head(patch_width, settings) if own else None

    def of_patches(self, features: Float[Tensor, "some width"]) -> Float[Tensor, "some prototypes"]:
        answers: Tensor = (self.images if self.patches is None else self.patches)(features)
        return answers

    def last_layers(self) -> frozenset[str]:
        """Their names in the objective."""
        return frozenset(f"heads.{name}.{LAST}" for name, head in self.named_children() if isinstance(head, Head))
