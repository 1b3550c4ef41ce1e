"""Two families: how many times the compute of one the other needs, and how many times its errors it makes."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from vitrail.studies.compute.frontier import Family, ratio_of
from vitrail.studies.fit.posterior import Estimate

WIDE_ERRORS, WIDE_BUDGETS = 1.1, 1.5
"""From so many times on the ends of what two families have in common are told apart; below, its middle is enough."""


class Place(NamedTuple):
    """`at`: an error, or exaFLOPs. `ratio`: the second family's compute for that error, or its errors for that compute,
    as so many times the first's."""

    at: float
    ratio: Estimate

    @property
    def ahead(self) -> int | None:
        """0 where the first family is better, 1 where the second is; None where the interval holds 1."""
        return 0 if self.ratio.low > 1 else 1 if self.ratio.high < 1 else None


@dataclass(frozen=True)
class Pair:
    """`levels`: errors that both reached, from the largest to the smallest; `budgets`: the smallest and the largest
    compute that both were given. Empty where they have none in common."""

    first: Family
    second: Family
    levels: tuple[Place, ...]
    budgets: tuple[Place, ...]

    @property
    def middle(self) -> Place:
        return self.levels[len(self.levels) // 2]

    def turned(self) -> Pair:
        return Pair(self.second, self.first, tuple(map(other_way, self.levels)), tuple(map(other_way, self.budgets)))


def other_way(place: Place) -> Place:
    middle, low, high = place.ratio
    return Place(place.at, Estimate(1 / middle, 1 / high, 1 / low))


def pair(first: Family, second: Family) -> Pair:
    """Both have a curve."""
    best = max(float(one.curve.y[-1]) for one in (first, second))
    worst = min(float(one.curve.y[0]) for one in (first, second))
    least = max(float(one.curve.x[0]) for one in (first, second))
    most = min(float(one.curve.x[-1]) for one in (first, second))
    levels = spread(worst, best, WIDE_ERRORS, 3) if best < worst else []
    budgets = spread(least, most, WIDE_BUDGETS, 2) if least < most else []
    return Pair(first, second,
                tuple(Place(at, ratio_of(first.compute_for(at), second.compute_for(at))) for at in levels),
                tuple(Place(at, ratio_of(np.log(first.errors_at(at)), np.log(second.errors_at(at))))
                      for at in budgets))


def spread(start: float, end: float, wide: float, count: int) -> list[float]:
    """Places from start to end, evenly in logarithms; the middle alone where they are close together."""
    if max(start, end) / min(start, end) < wide:
        return [math.sqrt(start * end)]
    return [float(one) for one in np.geomspace(start, end, count)]


def best_at(families: Sequence[Family], exaflops: float) -> dict[str, float]:
    """The probability that each family makes the fewest errors there."""
    draws = [family.errors_at(exaflops) for family in families]
    found = {}
    for number, (family, own) in enumerate(zip(families, draws, strict=True)):
        ahead = [((own[:, None] < other).mean(1) + (own[:, None] == other).mean(1) / 2)
                 for place, other in enumerate(draws) if place != number]
        found[family.name] = float(np.prod(ahead, axis=0).mean()) if ahead else 1.0
    return found
