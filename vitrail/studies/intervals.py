"""How sure is a mean over a few seeds? Student's interval, without assumptions beyond his."""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

PROBABILITY = 0.9
NORMAL = statistics.NormalDist().inv_cdf((1 + PROBABILITY) / 2)


@dataclass(frozen=True)
class Mean:
    """Of `count` runs, with where the mean of all possible seeds lies with a probability of 90 %; None for one run."""

    value: float
    low: float | None
    high: float | None
    count: int

    def holds(self, value: float) -> bool:
        """Whether the interval does; any value may be where chance is unknown."""
        return self.low is None or self.high is None or self.low <= value <= self.high


def mean_of(values: Sequence[float], least: float = 0.0) -> Mean:
    """`least`: half of the interval at least, as accuracy counts whole images. `values` must not be empty."""
    middle, count = statistics.fmean(values), len(values)
    if count < 2:
        return Mean(middle, None, None, count)
    half = max(least, student(count - 1) * statistics.stdev(values) / math.sqrt(count))
    return Mean(middle, middle - half, middle + half, count)


def measured(scores: Sequence[float], images: int, deviation: float) -> Mean:
    """Mean accuracy (0 to 1) of runs that were all asked about the same `images`: what these leave open (Wilson) and
    what seeds do; `deviation`: of one run, as a share of its error. `scores` must not be empty."""
    value, count = statistics.fmean(scores), len(scores)
    low, high = wilson(value, images)
    seeds = NORMAL * deviation * (1 - value) / math.sqrt(count)
    return Mean(value, max(0.0, value - math.hypot(value - low, seeds)),
                min(1.0, value + math.hypot(high - value, seeds)), count)


def wilson(share: float, count: int) -> tuple[float, float]:
    """Where the share of all possible images lies with PROBABILITY, of which `count` were asked about."""
    square = NORMAL**2 / count
    middle, half = share + square / 2, NORMAL * math.sqrt(share * (1 - share) / count + square / (4 * count))
    return max(0.0, (middle - half) / (1 + square)), min(1.0, (middle + half) / (1 + square))


def paired(first: Mapping[int, float], second: Mapping[int, float], least: float = 0.0) -> Mean | None:
    """`first` less `second`, seed by seed; None where they have none in common."""
    both = sorted(first.keys() & second.keys())
    return mean_of([first[seed] - second[seed] for seed in both], least) if both else None


def shared_chance(groups: Sequence[Mapping[int, float]], seeds: int) -> float:
    """Half of the interval that a difference of two means over so many `seeds` has by what groups of runs usually
    scatter, once the mean of each and what a seed does to all are taken away, over the seeds that all have. Two or
    three runs may lie close together by luck, but not those of most groups; and the median leaves alone what a single
    wild one does. 0 where there are too few to tell."""
    common = sorted(set.intersection(*(set(group) for group in groups))) if groups else []
    each = len(common) - 1
    freedom = (len(groups) - 1) * each
    if freedom < 2 or not seeds:
        return 0.0
    runs = [[group[seed] for seed in common] for group in groups]
    means, by_seed = ([statistics.fmean(part) for part in parts] for parts in (runs, zip(*runs, strict=True)))
    whole = statistics.fmean(means)
    squares = [sum((value - mean - shift + whole) ** 2 for value, shift in zip(own, by_seed, strict=True))
               for own, mean in zip(runs, means, strict=True)]
    unbiased = statistics.median(squares) * len(groups) / freedom / middle_of_chi_square(each)
    return student(freedom) * math.sqrt(2 * unbiased / seeds)


def middle_of_chi_square(freedom: int) -> float:
    """Its median as a share of its mean (Wilson and Hilferty)."""
    return (1 - 2 / (9 * freedom)) ** 3


def student(freedom: int, probability: float = PROBABILITY) -> float:
    """How many standard errors to either side hold `probability` (t of Student): bisection on his distribution."""
    low, high = 0.0, math.pi / 2
    for _ in range(60):
        angle = (low + high) / 2
        low, high = (angle, high) if within(angle, freedom) < probability else (low, angle)
    return math.sqrt(freedom) * math.tan(low)


def within(angle: float, freedom: int) -> float:
    """Probability that |t| < sqrt(freedom) tan(angle), for whole degrees of freedom (Abramowitz and Stegun, 26.7.3 and
    26.7.4)."""
    odd, squared = freedom % 2, math.cos(angle) ** 2
    term, series = 1.0, 1.0 if freedom > 1 else 0.0
    for step in range(2 + odd, freedom - 1, 2):
        term *= squared * (step - 1) / step
        series += term
    if odd:
        return 2 / math.pi * (angle + math.sin(angle) * math.cos(angle) * series)
    return math.sin(angle) * series
