"""How a curve goes on, and how sure that is: every curve y = e + b x^-c on a dense grid, weighed by how well it fits.

    fit(curve) -> Posterior
    .predict(x) -> Estimate      .size_for(y) -> Reach      .slope(x)

No optimizer and no random numbers: e (what no amount removes) and c (how fast the rest falls) are on the grid, b
follows in closed form. Errors of such fits are errors of the form, not noise, and the points agree in them; so no more
than five points count as independent (the likelihood is tempered), no fit is believed to be better than a floor, and
points count the more, the nearer they are to what is asked about.
Chosen on 72 public curves, see benchmarks/learning_curves.py.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from vitrail.errors import DataError
from vitrail.studies.fit.curve import Curve

LEAST_POINTS = 3
NEARNESS = 0.5
"""A point at a quarter of the largest size counts by this power of a quarter: half as much."""

INDEPENDENT = 5
"""Points that count at most."""

FLOOR, SMALL_FLOOR, MANY_ASKED = 0.02, 0.05, 2_000
"""Smallest relative error that a curve is believed to have; the second for test sets of fewer images, whose noise it
is."""

FLOORS = np.linspace(0.0, 0.98, 50)
"""e as a share of the smallest error that was measured."""

EXPONENTS = np.linspace(0.02, 1.6, 80)
LEVEL = 0.9
NOISE = np.array([-1.9600, -1.4395, -1.1503, -0.9346, -0.7554, -0.5978, -0.4538, -0.3186, -0.1891, -0.0627,
                  0.0627, 0.1891, 0.3186, 0.4538, 0.5978, 0.7554, 0.9346, 1.1503, 1.4395, 1.9600])
"""Middles of twenty equally likely parts of the normal distribution."""


class Estimate(NamedTuple):
    """What is expected, and where it lies with a probability of LEVEL."""

    expected: float
    low: float
    high: float


class Reach(NamedTuple):
    """The size that a target needs, where it can be reached at all; `unreachable`: the probability that it cannot. None
    where that is more likely than not."""

    size: Estimate | None
    unreachable: float


@dataclass(frozen=True)
class Posterior:
    """Curves on the grid with their weights, which sum to one. `noise`: relative error of each around the points."""

    floors: Float[np.ndarray, " curves"]
    scales: Float[np.ndarray, " curves"]
    exponents: Float[np.ndarray, " curves"]
    noise: Float[np.ndarray, " curves"]
    weights: Float[np.ndarray, " curves"]
    largest: float

    def at(self, x: float) -> Float[np.ndarray, " curves"]:
        """What each curve says."""
        values: np.ndarray = self.floors + self.scales * x**-self.exponents
        return values

    def predict(self, x: float, level: float = LEVEL) -> Estimate:
        """What would be measured at x, with the noise of a measurement."""
        logs = (np.log(self.at(x))[:, None] + self.noise[:, None] * NOISE).ravel()
        weights = np.repeat(self.weights / len(NOISE), len(NOISE))
        low, high = np.exp(quantiles(logs, weights, [(1 - level) / 2, (1 + level) / 2]))
        return Estimate(float(self.weights @ self.at(x)), float(low), float(high))

    def log_sizes(self, y: float) -> Float[np.ndarray, " curves"]:
        """The logarithm of where each curve falls to y; infinite where it never does."""
        possible = self.floors < y
        logs = np.full(len(self.weights), np.inf)
        logs[possible] = (np.log(self.scales[possible]) - np.log(y - self.floors[possible])) / self.exponents[possible]
        return logs

    def size_for(self, y: float, level: float = LEVEL) -> Reach:
        """Where the curve falls to y."""
        logs = self.log_sizes(y)
        unreachable = float(self.weights[np.isinf(logs)].sum())
        low, middle, high = quantiles(logs, self.weights, [(1 - level) / 2, 0.5, (1 + level) / 2])
        if not np.isfinite(middle):
            return Reach(None, unreachable)
        with np.errstate(over="ignore"):
            return Reach(Estimate(*(float(np.exp(value)) for value in (middle, low, high))), unreachable)

    def slope(self, x: float, level: float = LEVEL) -> Estimate:
        """How much of the error at x is gone at twice as much, as a share."""
        gains = 1 - self.at(2 * x) / self.at(x)
        low, middle, high = quantiles(gains, self.weights, [(1 - level) / 2, 0.5, (1 + level) / 2])
        return Estimate(float(middle), float(low), float(high))


def floor_for(test_images: int | None) -> float:
    """None: so many that they are not counted."""
    return FLOOR if test_images is None or test_images >= MANY_ASKED else SMALL_FLOOR


def fit(curve: Curve, floor: float = FLOOR, nearness: float = NEARNESS) -> Posterior:
    """`floor`: smallest relative error to believe in, or the curve's own scatter where that is larger. `nearness`: 0
    to ask between the points, where all count alike.

    Raises DataError for fewer than three points.
    """
    if len(curve) < LEAST_POINTS:
        raise DataError(f"{len(curve)} sizes are too few for a curve: {LEAST_POINTS} are needed at least, five for an "
                        "answer worth having.")
    floors, exponents = (part.ravel() for part in np.meshgrid(FLOORS * curve.y.min(), EXPONENTS, indexing="ij"))
    excess = curve.y - floors[:, None]
    near = (curve.x / curve.x[-1]) ** nearness
    weights = (excess / curve.y) ** 2 * near
    powers = -exponents[:, None] * np.log(curve.x)
    log_scales = (weights * (np.log(excess) - powers)).sum(1) / weights.sum(1)
    fitted = floors[:, None] + np.exp(log_scales[:, None] + powers)
    squares = np.log(fitted / curve.y) ** 2 @ near / near.sum()
    noise = np.sqrt(squares + max(floor, curve.scatter) ** 2)
    likelihood = -min(len(curve), INDEPENDENT) * np.log(noise)
    believed = np.exp(likelihood - likelihood.max())
    return Posterior(floors, np.exp(log_scales), exponents, noise, believed / believed.sum(), float(curve.x[-1]))


def quantiles(values: Float[np.ndarray, " many"], weights: Float[np.ndarray, " many"],
              shares: list[float]) -> Float[np.ndarray, " shares"]:
    """Of weighted values: the smallest below which (and with which) the share lies."""
    order = np.argsort(values, kind="stable")
    sums = np.cumsum(weights[order])
    places = np.searchsorted(sums, np.array(shares) * sums[-1] * (1 - 1e-12))
    found: np.ndarray = values[order][np.minimum(places, len(values) - 1)]
    return found
