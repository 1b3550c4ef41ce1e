"""The dense layers of a block, by hand."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from models.small import small
from vitrail.models.vit.feedforward import FeedForward


def tanh_gelu(x: Tensor) -> Tensor:
    return 0.5 * x * (1 + torch.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3)))


def exact_gelu(x: Tensor) -> Tensor:
    return 0.5 * x * (1 + torch.erf(x / math.sqrt(2)))


def quick_gelu(x: Tensor) -> Tensor:
    return x / (1 + torch.exp(-1.702 * x))


def swiglu(x: Tensor) -> Tensor:
    gate, linear = x.chunk(2, -1)
    return gate / (1 + torch.exp(-gate)) * linear


@pytest.mark.parametrize(("kind", "formula"), [
    ("gelu-tanh", tanh_gelu), ("gelu", exact_gelu), ("gelu-quick", quick_gelu), ("swiglu", swiglu)])
def test_each_kind_is_its_formula(kind: str, formula: object) -> None:
    torch.manual_seed(0)
    part = FeedForward(small(feedforward=kind)).double()
    values = torch.randn(2, 5, 16, dtype=torch.float64)
    assert part.expand.out_features == (48 if kind == "swiglu" else 24)
    torch.testing.assert_close(part(values), part.contract(formula(part.expand(values))))


def test_tanh_and_exact_differ_as_little_as_is_known() -> None:
    x = torch.linspace(-6, 6, 20_001, dtype=torch.float64)
    assert float((tanh_gelu(x) - exact_gelu(x)).abs().max()) == pytest.approx(4.7e-4, abs=1e-5)
