"""A broken law with one break, BNSL-1 (2210.14891): an option for curves of ten points and more.

    y = a + b x^-c0 (1 + (x / d)^(1/f))^(-c1 f)

It is linear in a and b, so these follow in closed form for every place of a grid of the other four; the best places are
then improved by Levenberg and Marquardt's steps on the logarithm of the error. Deterministic, NumPy only.
"""

from __future__ import annotations

import itertools
from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from vitrail.errors import DataError
from vitrail.studies.fit.baselines import Fitted
from vitrail.studies.fit.curve import Curve

LEAST_POINTS = 10
MOST_POINTS = 120
"""The grid is searched on so many points, evenly chosen; all of them count in the end."""

SLOPES, BENDS, WIDTHS, BREAKS = np.linspace(0.0, 1.2, 9), np.linspace(-0.6, 1.4, 11), (0.1, 0.4, 1.0), 10
STARTS, STEPS = 12, 60


class Law(NamedTuple):
    """log b, c0, c1, log d, log f, and the root of a, so that neither b, d, f nor a can be negative."""

    parameters: Float[np.ndarray, " 6"]

    def log_at(self, log_x: Float[np.ndarray, " points"]) -> Float[np.ndarray, " points"]:
        log_b, c0, c1, log_d, log_f, root = self.parameters
        f = np.exp(log_f)
        falling = log_b - c0 * log_x - c1 * f * np.logaddexp(0.0, (log_x - log_d) / f)
        value: np.ndarray = np.logaddexp(falling, 2 * np.log(max(abs(root), 1e-12)))
        return value


def broken(curve: Curve) -> Fitted:
    """Raises DataError for fewer than ten points: with six numbers to choose, fewer decide nothing."""
    if len(curve) < LEAST_POINTS:
        raise DataError(f"A law with a break needs {LEAST_POINTS} sizes at least, and there are {len(curve)}.")
    log_x, log_y = np.log(curve.x), np.log(curve.y)
    chosen = np.unique(np.linspace(0, len(curve) - 1, MOST_POINTS).round().astype(int))
    found = [improved(start, log_x, log_y) for start in starts(log_x[chosen], curve.y[chosen])]
    best = min(found, key=lambda law: loss(law, log_x, log_y))
    return lambda x: float(np.exp(best.log_at(np.array([np.log(x)]))[0]))


def starts(log_x: Float[np.ndarray, " points"], y: Float[np.ndarray, " points"]) -> list[Law]:
    """The best place of the grid for each of several breaks and widths, a and b by least squares of relative error."""
    found: list[tuple[float, Law]] = []
    for log_d, width in itertools.product(np.linspace(log_x[0], log_x[-1], BREAKS + 2)[1:-1], WIDTHS):
        c0, c1 = (part.ravel() for part in np.meshgrid(SLOPES, BENDS, indexing="ij"))
        bend = width * np.logaddexp(0.0, (log_x - log_d) / width)
        shape = np.exp(-c0[:, None] * (log_x - log_x[0]) - c1[:, None] * bend) / y
        a, b = two_by_two(1 / y, shape)
        missed = ((a[:, None] / y + b[:, None] * shape - 1) ** 2).sum(1)
        missed[(a < 0) | (b <= 0)] = np.inf
        best = int(missed.argmin())
        if np.isfinite(missed[best]):
            parameters = [np.log(b[best]) + c0[best] * log_x[0], c0[best], c1[best], log_d, np.log(width),
                          np.sqrt(a[best])]
            found.append((float(missed[best]), Law(np.array(parameters))))
    ordered = [law for _, law in sorted(found, key=lambda one: one[0])]
    return ordered[:STARTS] or [Law(np.array([np.log(y[0]), 0.3, 0.0, log_x.mean(), 0.0, 0.0]))]


def two_by_two(ones: Float[np.ndarray, " points"], shape: Float[np.ndarray, "laws points"]) -> tuple[np.ndarray, ...]:
    """a and b with the least sum of (a ones + b shape - 1)^2, for each row of `shape`; a is 0 rather than less."""
    oo, os, ss = float(ones @ ones), shape @ ones, (shape**2).sum(1)
    o, s = float(ones.sum()), shape.sum(1)
    determinant = np.maximum(oo * ss - os**2, 1e-30)
    a, b = (o * ss - s * os) / determinant, (oo * s - o * os) / determinant
    return np.where(a < 0, 0.0, a), np.where(a < 0, s / ss, b)


def loss(law: Law, log_x: np.ndarray, log_y: np.ndarray) -> float:
    return float(((law.log_at(log_x) - log_y) ** 2).mean())


def improved(law: Law, log_x: np.ndarray, log_y: np.ndarray) -> Law:
    damping, best = 1e-2, loss(law, log_x, log_y)
    for _ in range(STEPS):
        here = law.log_at(log_x)
        change = 1e-5 * np.maximum(np.abs(law.parameters), 1e-2)
        slopes = np.stack([(Law(law.parameters + step).log_at(log_x) - here) / size
                           for step, size in zip(np.diag(change), change, strict=True)], 1)
        moment = slopes.T @ slopes
        toward = np.linalg.solve(moment + damping * (np.diag(np.diag(moment)) + 1e-9 * np.eye(6)),
                                 slopes.T @ (log_y - here))
        tried = Law(law.parameters + toward)
        if abs(tried.parameters[4]) < 8 and (missed := loss(tried, log_x, log_y)) < best:
            law, best, damping = tried, missed, max(damping / 3, 1e-9)
        elif (damping := 4 * damping) > 1e9:
            break
    return law
