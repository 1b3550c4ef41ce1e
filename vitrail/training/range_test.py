"""Which learning rate? Let it grow at every step, on weights that are put back, and see where the loss falls steepest.

After Smith, "Cyclical Learning Rates for Training Neural Networks" (1506.01186).
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from torch import nn

from vitrail.errors import RunError
from vitrail.training.loop import steps
from vitrail.training.optimizer import OptimizerSettings, build_optimizer, kernel_names
from vitrail.training.parallel import SOLO, World
from vitrail.training.precision import Weights
from vitrail.vocabulary import Batch

STEPS = 100
LOWEST, HIGHEST = 1e-6, 1.0
MOMENTUM_FACTOR = 10
"""SGD takes larger rates than Adam, whose steps have the size of the rate."""

BELOW_LOWEST = 0.1
"""Of the rate where the loss is lowest: from there on it no longer falls, and a long run needs a distance from it."""

BLOWN_UP = 2.0
"""Times the lowest loss so far, where a test has seen enough."""

NEIGHBORS = 2
"""Losses on each side that are averaged: batches differ."""


class Suggestion(NamedTuple):
    """What a range test saw: the `rate` to take, where the loss falls `steepest` and is `lowest`, and the `last`."""

    rate: float
    steepest: float
    lowest: float
    last: float


def suggest(rates: Sequence[float], losses: Sequence[float]) -> Suggestion:
    """The rate where the smoothed loss falls steepest along the logarithm of the rate, but at most a tenth of the one
    where it is lowest. Rates grow by one factor; the losses may be fewer, where the test blew up.

    Raises RunError where the loss never fell.
    """
    count = next((place for place, loss in enumerate(losses) if not math.isfinite(loss)), len(losses))
    smooth = [sum(near) / len(near) for place in range(count)
              for near in [losses[max(0, place - NEIGHBORS) : min(count, place + NEIGHBORS + 1)]]]
    lowest = min(range(count), key=smooth.__getitem__, default=0)
    if lowest == 0:
        raise RunError("No learning rate of the range test made the loss fall. Give one yourself: --lr 0.001")
    falls = [smooth[place] - smooth[place + 1] for place in range(lowest)]
    steepest = max(range(lowest), key=falls.__getitem__)
    between = math.sqrt(rates[steepest] * rates[steepest + 1])
    chosen = min(between, BELOW_LOWEST * rates[lowest])
    return Suggestion(float(f"{chosen:.2g}"), between, rates[lowest], rates[count - 1])


def range_test(objective: nn.Module, batches: Iterable[Batch], weights: Weights, settings: OptimizerSettings, *,
               micro_batches: int = 1, seed: int = 0, count: int = STEPS, world: World = SOLO) -> Suggestion:
    """Train `count` steps at growing rates with an optimizer of its own; the weights come back as they were."""
    factor = MOMENTUM_FACTOR if settings.name == "sgd" else 1
    rates = [factor * LOWEST * (HIGHEST / LOWEST) ** (place / (count - 1)) for place in range(count)]
    kept = {name: master.detach().clone() for name, master in weights.named_masters()}
    optimizer = build_optimizer(settings, weights.named_masters(), kernel_names(weights.module), weights.rounded)
    losses: list[float] = []
    stream = steps(objective, batches, weights, optimizer, rates.__getitem__, micro_batches=micro_batches,
                   clip=settings.clip, seed=seed, world=world)
    try:
        for step in stream:
            losses.append(step.parts["loss"])
            if len(losses) == count or losses[-1] > BLOWN_UP * min(losses) + 1e-9:
                break
    except RunError:
        pass  # not finite: it ends here, and what was seen until now counts
    finally:
        stream.close()
        weights.clear_gradients()
        weights.restore(kept)
    return suggest(rates, losses)


def in_words(seen: Suggestion, settings: OptimizerSettings) -> str:
    start = (MOMENTUM_FACTOR if settings.name == "sgd" else 1) * LOWEST
    return (f"a range test from {start:g} to {seen.last:.2g}: the loss fell steepest at {seen.steepest:.2g} and was "
            f"lowest at {seen.lowest:.2g}; taken: {seen.rate:.2g}, no more than a tenth of the latter, as a long run "
            "needs to stay stable")
