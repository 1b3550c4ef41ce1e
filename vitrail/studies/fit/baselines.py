"""Simpler ways to go on with a curve, which every answer is printed beside: x -> error, each fitted to a Curve.

    last value       nothing gets better any more
    M1               b x^-c             by least squares of logarithms: too hopeful
    M2               e + b x^-c         by Huber's loss of the logarithm of the error (2209.06640's form, another loss)
    M3               b (1/x + g)^c      by least squares of logarithms
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from jaxtyping import Float

from vitrail.studies.fit.curve import Curve
from vitrail.studies.fit.posterior import EXPONENTS, FLOORS

Fitted = Callable[[float], float]

HUBER = 1e-3
"""Log errors up to here count by their square, larger ones by their size."""

ROUNDS = 30


def last_value(curve: Curve) -> Fitted:
    last = float(curve.y[-1])
    return lambda x: last


def power(curve: Curve) -> Fitted:
    """M1."""
    slope, height = line(np.log(curve.x), np.log(curve.y))
    return lambda x: float(np.exp(height + slope * np.log(x)))


def offset_power(curve: Curve) -> Fitted:
    """M2, on the grid of the posterior; b by reweighted least squares at each of its places."""
    floors, exponents = (part.ravel() for part in np.meshgrid(FLOORS * curve.y.min(), EXPONENTS, indexing="ij"))
    powers = -exponents[:, None] * np.log(curve.x)
    log_scales = (np.log(curve.y - floors[:, None]) - powers).mean(1)
    for _ in range(ROUNDS):
        falling = np.exp(log_scales[:, None] + powers)
        missed = np.log((floors[:, None] + falling) / curve.y)
        slope = falling / (floors[:, None] + falling)
        weight = slope / np.maximum(np.abs(missed), HUBER)
        log_scales -= (weight * missed).sum(1) / (weight * slope).sum(1).clip(min=1e-12)
    missed = np.abs(np.log((floors[:, None] + np.exp(log_scales[:, None] + powers)) / curve.y))
    loss = np.where(missed < HUBER, missed**2 / 2, HUBER * (missed - HUBER / 2)).sum(1)
    best = int(loss.argmin())
    e, b, c = floors[best], np.exp(log_scales[best]), exponents[best]
    return lambda x: float(e + b * x**-c)


def saturating(curve: Curve) -> Fitted:
    """M3: a straight line of logarithms for each g of a grid, from far below 1 / x to far above."""
    shifts = np.concatenate(([0.0], np.geomspace(1e-4, 1e2, 200) / curve.x[-1]))
    fits = [(*line(np.log(1 / curve.x + shift), np.log(curve.y)), shift) for shift in shifts]
    losses = [float(((height + slope * np.log(1 / curve.x + shift) - np.log(curve.y)) ** 2).sum())
              for slope, height, shift in fits]
    slope, height, shift = fits[int(np.argmin(losses))]
    return lambda x: float(np.exp(height + slope * np.log(1 / x + shift)))


def line(x: Float[np.ndarray, " points"], y: Float[np.ndarray, " points"]) -> tuple[float, float]:
    """Slope and height of the straight line by least squares."""
    centered = x - x.mean()
    slope = float(centered @ y / (centered @ centered))
    return slope, float(y.mean() - slope * x.mean())


BASELINES: dict[str, Callable[[Curve], Fitted]] = {
    "last value": last_value, "M1": power, "M2": offset_power, "M3": saturating}
