"""What was trained, family by family: the frontier of each, and a curve through it.

    family_of_runs(name, trained, ...) -> Family      .frontier      .at(compute)      .compute_for(error)

The frontier are the settings that no other of the family beats with as much compute or less.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from jaxtyping import Float

from vitrail.studies.fit.curve import Curve, test_noise
from vitrail.studies.fit.posterior import LEAST_POINTS, Estimate, Posterior, fit, floor_for, quantiles

DRAWS = 200
"""Equally likely values that stand for a posterior."""

CALLED = {"vit": "ViTs", "bit": "ResNets", "hybrid": "hybrids", "axial-vit": "axial ViTs",
          "axial-resnet": "axial ResNets"}
"""Families of models in words, in the order in which they are told."""


@dataclass(frozen=True)
class Trained:
    """A model trained for a length. `length`: in words, "42 epochs"; `errors`: one for each seed; `samples`: images
    seen, `seconds` on the clock."""

    family: str
    model: str
    length: str
    exaflops: float
    errors: tuple[float, ...]
    samples: int | None = None
    seconds: float | None = None

    @property
    def error(self) -> float:
        return float(np.mean(self.errors))


@dataclass(frozen=True)
class Family:
    """`trained`, the cheapest first; `posterior` of the curve through the `frontier`, None where that has fewer than
    three points."""

    name: str
    trained: tuple[Trained, ...]
    frontier: tuple[Trained, ...]
    curve: Curve
    posterior: Posterior | None

    @property
    def called(self) -> str:
        return CALLED[self.name]

    @property
    def fitted(self) -> Posterior:
        assert self.posterior is not None
        return self.posterior

    def errors_at(self, exaflops: float) -> Float[np.ndarray, " draws"]:
        """What the frontier's error may be there."""
        return equally_likely(self.fitted.at(exaflops), self.fitted.weights)

    def compute_for(self, error: float) -> Float[np.ndarray, " draws"]:
        """Logarithms of the exaFLOPs that it may take to come down to an error."""
        return equally_likely(self.fitted.log_sizes(error), self.fitted.weights)

    @cached_property
    def misfit(self) -> float:
        """How far the likeliest curve is from the points of the frontier, as a share of the error."""
        best = int(self.fitted.weights.argmax())
        said = np.array([self.fitted.at(float(x))[best] for x in self.curve.x])
        return float(np.sqrt(np.mean(np.log(said / self.curve.y) ** 2)))

    def saturates(self) -> float:
        """Probability that doubling the compute removes less than half of the share of the error at the end of the
        frontier of what it removes at its beginning."""
        first, last = (1 - self.fitted.at(2 * float(x)) / self.fitted.at(float(x)) for x in self.curve.x[[0, -1]])
        return float(self.fitted.weights[last < first / 2].sum())


def family_of_runs(name: str, trained: Sequence[Trained], scatter: float, test_images: int | None) -> Family:
    """`scatter`: of one run between seeds, as a share of its error. `test_images`: None for a table of the literature.
    No errors at all count as half a test image, which has a logarithm."""
    ordered = tuple(sorted(trained, key=lambda one: (one.exaflops, one.error)))
    front = frontier(ordered)
    least = 0.5 / test_images if test_images else 0.0
    errors = np.array([max(one.error, least) for one in front])
    noise = max(scatter, test_noise(errors, test_images) if front else 0.0)
    curve = Curve(np.array([one.exaflops for one in front]), errors, noise)
    posterior = fit(curve, floor_for(test_images), nearness=0.0) if len(front) >= LEAST_POINTS else None
    return Family(name, ordered, front, curve, posterior)


def frontier(ordered: Sequence[Trained]) -> tuple[Trained, ...]:
    """Of settings by rising compute, and by error where that is the same."""
    found: list[Trained] = []
    for one in ordered:
        if not found or one.error < found[-1].error:
            found.append(one)
    return tuple(found)


def equally_likely(values: Float[np.ndarray, " curves"],
                   weights: Float[np.ndarray, " curves"]) -> Float[np.ndarray, " draws"]:
    """Values at the middles of equal parts of the weight."""
    return quantiles(values, weights, list((np.arange(DRAWS) + 0.5) / DRAWS))


def ratio_of(logs: Float[np.ndarray, " draws"], others: Float[np.ndarray, " draws"]) -> Estimate:
    """How many times the others' values are, of two that know nothing of each other."""
    differences = np.subtract.outer(others, logs).ravel()
    low, middle, high = np.exp(np.quantile(differences, [0.05, 0.5, 0.95]))
    return Estimate(float(middle), float(low), float(high))
