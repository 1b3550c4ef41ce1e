"""A moving average of the weights (Polyak and Juditsky, 1992): steadier than the last ones; the Bundle then holds it.

The paper fine-tunes on ImageNet with 0.9999. A short run would still hold its start at that rate, so the average is a
plain mean at first and slows down to `decay`: the share that stays after step n is min(decay, (1 + n) / (10 + n)).

A teacher that follows its student (DINO) has a rule of its own, and is part of the objective.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from vitrail.training.parallel.parts import like, local
from vitrail.training.precision import Weights


class Average:
    """Follows the masters of `weights`, in fp32. `values` stand in the same order, under the same names, and where
    there is a `follower`, in its parameters of these names too, in the type that computes."""

    def __init__(self, weights: Weights, decay: float = 0.0, follower: nn.Module | None = None) -> None:
        self.weights, self.decay = weights, decay
        self.values: list[Tensor] = [master.detach().clone() for master in weights.masters]
        parts = dict(follower.named_parameters()) if follower is not None else {}
        self.followed = [(parts[name], value) for name, value in self.named().items() if name in parts]

    @torch.no_grad()
    def update(self, step: int, kept: float | None = None) -> None:
        """After optimizer step number `step`, counted from 1; `kept`: what stays, where the rule is another's."""
        kept = min(self.decay, (1 + step) / (10 + step)) if kept is None else kept
        torch._foreach_lerp_([local(value) for value in self.values],
                             [local(master) for master in self.weights.masters], 1 - kept)
        self.publish()

    def publish(self) -> None:
        """Into the follower."""
        if self.followed:
            torch._foreach_copy_([local(part.data) for part, _ in self.followed],
                                 [local(value) for _, value in self.followed])

    def named(self) -> dict[str, Tensor]:
        return dict(zip(self.weights.names, self.values, strict=True))

    @torch.no_grad()
    def restore(self, values: dict[str, Tensor]) -> None:
        for name, value in self.named().items():
            value.copy_(like(values[name], value))
        self.publish()
