"""What all files of ResNets have in common: units counted from keys, kernels named, one epsilon put for another."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Iterable

import torch

from vitrail.models import BiT
from vitrail.models.convolution import ROOT_CHANNELS, StandardizedConv, UnitSize

NORMS = {"conv1": "norm1", "conv2": "norm2", "conv3": "norm3", "projection": "projection_norm"}
"""Of each convolution of a unit, by our names. BiT's projection has none."""


def width_of(root: int) -> float:
    """The factor by which a ResNet is wider than the published one, from the channels of its root."""
    return root / ROOT_CHANNELS


def depths_of(names: Iterable[str], pattern: str) -> tuple[int, ...]:
    """Units of each stage, from the keys that begin with `pattern`, whose groups are the two numbers. Gaps are found
    when all keys are compared."""
    found = {match.groups() for name in names if (match := re.match(pattern, name))}
    units = Counter(stage for stage, _ in found)
    return tuple(units[stage] for stage in sorted(units, key=int))


def kernels(size: UnitSize) -> dict[str, tuple[int, int, int, int]]:
    """The convolutions of a unit by our names, with the shapes of their weights."""
    one = {"conv1": (size.middle, size.inputs, 1, 1), "conv2": (size.middle, size.middle, 3, 3),
           "conv3": (size.outputs, size.middle, 1, 1)}
    return one | ({"projection": (size.outputs, size.inputs, 1, 1)} if size.number == 0 else {})


@torch.no_grad()
def with_epsilon(model: BiT, epsilon: float) -> BiT:
    """The same answers with another epsilon beside the variance of kernels, as other code has it: c w standardized
    with c^2 epsilon is w standardized with epsilon. Kernels are multiplied by that c."""
    config = model.config
    if config.standardize != "variance" or config.standardize_eps == epsilon:
        return model
    scale = math.sqrt(epsilon / config.standardize_eps)
    standardized = {f"{name}.weight" for name, part in model.named_modules() if isinstance(part, StandardizedConv)}
    weights = {name: value * scale if name in standardized else value for name, value in model.state_dict().items()}
    with torch.device("meta"):
        other = BiT(config.model_copy(update={"standardize_eps": epsilon}))
    other.load_state_dict(weights, assign=True)
    return other.eval()
