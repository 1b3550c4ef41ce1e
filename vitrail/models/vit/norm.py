"""Layer norm, by torch or by the kernel of our own."""

from __future__ import annotations

from jaxtyping import Float
from torch import Tensor, nn

from vitrail import native


class Norm(nn.LayerNorm):
    """torch's, over the last axis. `native` is chosen by measurement (`training/backend.py`), never in `forward`."""

    native = False

    def forward(self, values: Float[Tensor, "*rows width"]) -> Float[Tensor, "*rows width"]:
        if self.native and native.takes(values) and self.weight.dtype == self.bias.dtype == values.dtype:
            return native.layer_norm(values, self.weight, self.bias, self.eps)
        return super().forward(values)
