"""The kernels that follow the backward pass: over many tensors at once, in fp32, each dense in memory."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from torch import Tensor

from vitrail.native.kernels import kernels

PART = 2**15
"""So many squares are added up in fp32, and these sums in double precision: the same for any number of threads."""


class Rates(NamedTuple):
    """Of AdamW: learning rate, decay that is multiplied by it, number of the step from 1; gradients count `scale`."""

    learning: float
    decay: float
    betas: tuple[float, float]
    epsilon: float
    step: int
    scale: float


def adamw(tensors: Sequence[Sequence[Tensor]], rates: Rates) -> None:
    """One step of AdamW (1711.05101) in place. `tensors`: weights, their gradients, first and second moments, and
    copies in bf16, into which the weights are rounded.

    Those of one weight must have the same shape and strides. Raises ValueError where they have not."""
    for weight, *others in zip(*tensors, strict=True):
        if any(other.shape != weight.shape or other.stride() != weight.stride() for other in others):
            raise ValueError("a weight, its gradient, its moments and its copy must lie in memory alike")
    beta1, beta2 = rates.betas
    # Differences from 1 in double precision: 1 - 0.999 is wrong by 5e-5 of itself in fp32.
    chosen = (rates.scale, 1 - rates.learning * rates.decay, beta1, 1 - beta1, beta2, 1 - beta2,
              rates.learning / (1 - beta1**rates.step), 1 / math.sqrt(1 - beta2**rates.step), rates.epsilon)
    call("adamw", tensors, np.array(chosen, np.float32))


def norm(tensors: Sequence[Tensor]) -> float:
    """The square root of the sum of all squares."""
    sums = np.zeros(sum(-(-one.numel() // PART) for one in tensors))
    call("squares", [tensors], PART, sums)
    return math.sqrt(sums.sum())


def call(name: str, rows: Sequence[Sequence[Tensor]], *further: np.ndarray | int) -> None:
    """With the addresses of all tensors, which must be dense, and how many numbers each of the first row has."""
    table = np.array([[one.data_ptr() for one in row] for row in rows], np.int64)
    sizes = np.array([one.numel() for one in rows[0]], np.int64)
    getattr(kernels(), name)(table.ctypes.data, sizes.ctypes.data, len(sizes),
                             *(one.ctypes.data if isinstance(one, np.ndarray) else one for one in further))
