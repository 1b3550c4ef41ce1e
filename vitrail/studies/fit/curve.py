"""Curve: how an error falls as something grows, as it was measured."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from vitrail.errors import DataError

ONE_SEED = 0.03
"""How far a run is from the mean over seeds, as a share of its error, where no seeds tell: the root mean square of 32
settings with several seeds in docs/results/studies."""


@dataclass(frozen=True)
class Curve:
    """`x`: images or compute, rising. `y`: error rates (or losses), above 0, the mean over seeds at each x. `scatter`:
    how much a point may be off, as a share of itself: from seeds and from the size of the test set.

    Raises DataError for what is no curve.
    """

    x: Float[np.ndarray, " points"]
    y: Float[np.ndarray, " points"]
    scatter: float = 0.0

    def __post_init__(self) -> None:
        if self.x.shape != self.y.shape or self.x.ndim != 1:
            raise DataError(f"A curve has one error for each size: {self.x.shape} sizes and {self.y.shape} errors.")
        if not (np.isfinite(self.x).all() and np.isfinite(self.y).all() and (self.x > 0).all()):
            raise DataError("Sizes and errors of a curve must be finite numbers, and sizes above 0.")
        if (self.y <= 0).any():
            raise DataError("An error of 0 has no logarithm, and no curve goes on from there: every test image is "
                            "right already. Use a harder or a larger test set.")
        if len(self.x) and (np.diff(self.x) <= 0).any():
            raise DataError("Sizes of a curve must rise, each once.")

    def __len__(self) -> int:
        return len(self.x)

    def without_last(self) -> Curve:
        return Curve(self.x[:-1], self.y[:-1], self.scatter)

    def rises(self, tolerance: float = 0.05) -> list[float]:
        """Sizes at which the error is larger than at a smaller size by more than may be chance: no curve of this kind
        does that."""
        allowed = 1 + max(tolerance, 2 * self.scatter)
        best = np.minimum.accumulate(self.y)
        return [float(self.x[place]) for place in range(1, len(self)) if self.y[place] > allowed * best[place - 1]]


def curve_of(points: Sequence[tuple[float, float]], *, test_images: int | None = None) -> Curve:
    """From (size, error) of single runs: several at one size are averaged. The scatter is the larger of what the seeds
    show and what a test set of so many images leaves open. Without `test_images` it is a curve of the literature, and
    nothing is supposed of seeds that it does not show."""
    sizes = sorted({size for size, _ in points})
    groups = [np.array([error for at, error in points if at == size]) for size in sizes]
    means = np.array([group.mean() for group in groups])
    seeds = seed_scatter(groups) or (ONE_SEED if test_images else 0.0)
    return Curve(np.array(sizes, np.float64), means, max(seeds, test_noise(means, test_images)))


def seed_scatter(groups: Sequence[Float[np.ndarray, " runs"]]) -> float:
    """How much seeds leave open of a point, as a share of it: what one run is off, pooled over the sizes that have
    several, by how many runs each point is a mean of."""
    off = seed_deviation(groups)
    return off * math.sqrt(float(np.mean([1 / len(group) for group in groups]))) if groups else 0.0


def seed_deviation(groups: Sequence[Float[np.ndarray, " runs"]]) -> float:
    """How far a single run is from the mean over seeds, as a share of it, pooled over all groups of several runs."""
    several = [group for group in groups if len(group) > 1 and group.mean() > 0]
    if not several:
        return 0.0
    return math.sqrt(float(np.mean([(group.std(ddof=1) / group.mean()) ** 2 for group in several])))


def supposed_deviation(groups: Sequence[Float[np.ndarray, " runs"]]) -> float:
    """The same of runs of our own, of which something is known where no seeds tell."""
    return seed_deviation(groups) or ONE_SEED


def test_noise(errors: Float[np.ndarray, " points"], images: int | None) -> float:
    """Of an error rate counted on so many images, as a share of it: the binomial deviation at the smallest error."""
    if not images:
        return 0.0
    rate = float(errors.min())
    return math.sqrt(max(rate * (1 - rate), 0.0) / images) / rate if 0 < rate < 1 else 0.0
