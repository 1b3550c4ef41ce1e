"""A moving average of the weights (Polyak and Juditsky, 1992): steadier than the last ones; the Bundle then holds it.

The paper fine-tunes on ImageNet with 0.9999. A short run would still hold its start at that rate, so the average is a
plain mean at first and slows down to `decay`: the share that stays after step n is min(decay, (1 + n) / (10 + n)).
"""

from __future__ import annotations

import torch
from torch import Tensor

from vitrail.training.parallel.parts import like, local
from vitrail.training.precision import Weights


class Average:
    """Follows the masters of `weights`, in fp32. `values` stand in the same order, under the same names."""

    def __init__(self, weights: Weights, decay: float) -> None:
        self.weights, self.decay = weights, decay
        self.values: list[Tensor] = [master.detach().clone() for master in weights.masters]

    @torch.no_grad()
    def update(self, step: int) -> None:
        """After optimizer step number `step`, counted from 1."""
        kept = min(self.decay, (1 + step) / (10 + step))
        torch._foreach_lerp_([local(value) for value in self.values],
                             [local(master) for master in self.weights.masters], 1 - kept)

    def named(self) -> dict[str, Tensor]:
        return dict(zip(self.weights.names, self.values, strict=True))

    @torch.no_grad()
    def restore(self, values: dict[str, Tensor]) -> None:
        for name, value in self.named().items():
            value.copy_(like(values[name], value))
