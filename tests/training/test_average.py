"""The moving average of the weights."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from vitrail.training.average import Average
from vitrail.training.precision import Weights


def test_it_equals_the_definition() -> None:
    weights = Weights(nn.Linear(1, 1, bias=False), "fp32")
    (master,) = weights.masters
    with torch.no_grad():
        master.fill_(1.0)
    average, expected = Average(weights, decay=0.5), 1.0
    for step, value in enumerate((3.0, -2.0, 5.0, 8.0, 8.0, 8.0, 8.0, 8.0, 0.0), start=1):
        with torch.no_grad():
            master.fill_(value)
        average.update(step)
        kept = min(0.5, (1 + step) / (10 + step))
        expected = kept * expected + (1 - kept) * value
        assert average.values[0].item() == pytest.approx(expected)


def test_masters_are_followed_in_full_precision_and_left_alone() -> None:
    """A change far below what bf16 can hold."""
    module = nn.Linear(1, 1, bias=False)
    weights = Weights(module, "bf16")
    with torch.no_grad():
        weights.masters[0].fill_(1.0 + 2**-12)
    average = Average(weights, decay=0.9)
    for step in range(1, 100):
        average.update(step)
    assert average.values[0].item() == 1.0 + 2**-12 == weights.masters[0].item()


def test_a_short_run_forgets_its_start_in_spite_of_a_slow_decay() -> None:
    weights = Weights(nn.Linear(1, 1, bias=False), "fp32")
    with torch.no_grad():
        weights.masters[0].fill_(1000.0)
    average = Average(weights, decay=0.9999)
    with torch.no_grad():
        weights.masters[0].fill_(1.0)
    for step in range(1, 101):
        average.update(step)
    assert average.values[0].item() < 1.01


def test_it_comes_back_by_name() -> None:
    one, other = (Average(Weights(nn.Linear(2, 3), "fp32"), 0.9) for _ in range(2))
    other.restore(one.named())
    for name, value in one.named().items():
        assert torch.equal(other.named()[name], value)
