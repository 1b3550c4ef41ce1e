"""Random numbers for each picture of a batch, out of its position in the stream and a seed: on any device the same."""

from __future__ import annotations

import torch
from jaxtyping import Float, Int
from torch import Tensor

GOLDEN = -7046029254386353131  # 0x9E3779B97F4A7C15, as a signed number
FIRST, SECOND = -4658895280553007687, -7723592293110705685  # 0xBF58476D1CE4E5B9, 0x94D049BB133111EB


def uniform(seed: int, positions: Int[Tensor, " batch"], count: int) -> Float[Tensor, "batch count"]:
    """float64 in [0, 1): for each position the first `count` numbers of splitmix64 from a state of its own."""
    states = mixed(mixed(positions * GOLDEN) ^ (seed & 0x7FFFFFFFFFFFFFFF))
    steps = torch.arange(1, count + 1, device=positions.device) * GOLDEN
    return shifted(mixed(states[:, None] + steps), 11).double() * 2.0**-53


def mixed(state: Int[Tensor, "*shape"]) -> Int[Tensor, "*shape"]:
    """The finalizer of splitmix64; products of int64 wrap around."""
    state = (state ^ shifted(state, 30)) * FIRST
    state = (state ^ shifted(state, 27)) * SECOND
    return state ^ shifted(state, 31)


def shifted(state: Int[Tensor, "*shape"], bits: int) -> Int[Tensor, "*shape"]:
    """To the right, with zeros coming in (int64 has only the shift that keeps the sign)."""
    return (state >> bits) & ((1 << (64 - bits)) - 1)
