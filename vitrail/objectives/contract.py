"""What every objective is. The loop knows nothing else about what is being learned."""

from __future__ import annotations

from typing import NamedTuple

from jaxtyping import Float
from torch import Tensor, nn

from vitrail.vocabulary import Batch


class Losses(NamedTuple):
    """`total` is what backward is called on, averaged over the batch; `parts` are numbers worth a curve each."""

    total: Float[Tensor, ""]
    parts: dict[str, Tensor]


class Objective(nn.Module):
    """Owns what is special about a way of learning: its extra modules, its loss, and how raw images are normalized."""

    model: nn.Module

    def losses(self, batch: Batch) -> Losses:
        """Losses of one micro-batch; images arrive as uint8 and are normalized here, on the device."""
        raise TypeError(f"{type(self).__name__} must define `losses`")

    def forward(self, batch: Batch) -> Losses:
        return self.losses(batch)
