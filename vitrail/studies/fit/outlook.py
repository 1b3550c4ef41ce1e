"""What a curve says of sizes that were not measured, with everything that a reader must know to believe it.

    outlook(curve) -> Outlook      the fit, its back-test, the baselines, and warnings
    swap(ours, theirs, before)     how likely is it that two curves change places before a size?
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from vitrail.errors import UsageError
from vitrail.studies.fit.baselines import BASELINES
from vitrail.studies.fit.broken import LEAST_POINTS as BROKEN_FROM
from vitrail.studies.fit.broken import broken
from vitrail.studies.fit.curve import Curve
from vitrail.studies.fit.posterior import FLOOR, LEAST_POINTS, Estimate, Posterior, fit, quantiles
from vitrail.studies.numerals import rounded

FAR, TOO_FAR = 4.0, 10.0
"""Times the largest measured size: from here on an answer is a warning, and from here on none is given."""

WORTH_HAVING = 4
"""Sizes that a fit should have at least."""

BENT = 0.05
"""A fit that misses the last point by more than this share of the error is one of a curve with a bend."""


class Backtest(NamedTuple):
    """The largest size, predicted from the others, and what was measured there. `rivals`: what the baselines said."""

    x: float
    predicted: Estimate
    measured: float
    rivals: dict[str, float]

    @property
    def held(self) -> bool:
        return self.predicted.low <= self.measured <= self.predicted.high


@dataclass(frozen=True)
class Outlook:
    """`posterior` of all points; `warnings` in words."""

    curve: Curve
    posterior: Posterior
    backtest: Backtest | None
    warnings: tuple[str, ...]

    def predict(self, x: float, *, force: bool = False) -> Estimate:
        """Raises UsageError beyond ten times the largest size, unless forced."""
        refuse_too_far(x, self.posterior.largest, force)
        return self.posterior.predict(x)

    def rivals(self, x: float) -> dict[str, float]:
        """What the baselines say; with ten points and more, also the law with a break."""
        more = {"BNSL-1": broken} if len(self.curve) >= BROKEN_FROM else {}
        return {name: law(self.curve)(x) for name, law in (BASELINES | more).items()}

    def distance(self, x: float) -> str | None:
        """What to say of a size far beyond those that were measured."""
        ratio = x / self.posterior.largest
        if round(ratio, 1) <= FAR:
            return None
        return (f"{x:,.0f} is {ratio:.1f} times the largest size that was measured. Beyond {FAR:g} times, predictions "
                "are often wrong by more than their intervals say: measure at twice the largest size first.")


def refuse_too_far(x: float, largest: float, force: bool) -> None:
    """Raises UsageError beyond ten times the largest size, unless forced."""
    if x > TOO_FAR * largest and not force:
        raise UsageError(f"{x:,.0f} is {rounded(x / largest)} times the largest size that is measured "
                         f"({largest:,.0f}). Beyond {TOO_FAR:g} times no number would mean anything: measure larger "
                         "sizes first, or --force one.")


def outlook(curve: Curve, floor: float = FLOOR) -> Outlook:
    """Raises DataError for fewer than three sizes."""
    warnings = []
    if len(curve) < WORTH_HAVING:
        warnings.append(f"{len(curve)} sizes are few: the fit can hardly be wrong on them, and says little.")
    if rising := curve.rises():
        places = " and ".join(f"{x:,.0f}" for x in rising)
        warnings.append(f"The error at {places} is above that of a smaller size: the curve is not monotone, and no law "
                        "of this kind describes it. More seeds there would tell whether it is chance.")
    tested = backtest(curve, floor)
    if tested is not None and not tested.held:
        warnings.append(f"The fit of the smaller sizes foretold {tested.predicted.expected:.4g} at {tested.x:,.0f}, "
                        f"where {tested.measured:.4g} was measured, outside of its interval: do not trust it further "
                        "out.")
    posterior = fit(curve, floor)
    return Outlook(curve, posterior, tested, (*warnings, *bends(curve, posterior)))


def bends(curve: Curve, posterior: Posterior) -> list[str]:
    """What to say of a curve whose last point lies off the fit of all of them, by more than chance has it."""
    x, y = float(curve.x[-1]), float(curve.y[-1])
    off = float(posterior.weights @ posterior.at(x)) / y - 1
    if abs(off) <= max(BENT, curve.scatter):
        return []
    said = f"At {x:,.0f} the fit is {100 * abs(off):.0f} % of the error"
    return [f"{said} above what was measured: the error falls ever faster here, as no law of this kind does, and more "
            "may bring more than is said." if off > 0 else
            f"{said} below what was measured: the error falls more slowly here than it did, as no law of this kind "
            "does, and more may bring less than is said."]


def backtest(curve: Curve, floor: float = FLOOR) -> Backtest | None:
    """Leave the largest size out and predict it. None where too few would be left."""
    if len(curve) <= LEAST_POINTS:
        return None
    rest, x = curve.without_last(), float(curve.x[-1])
    return Backtest(x, fit(rest, floor).predict(x), float(curve.y[-1]),
                    {name: law(rest)(x) for name, law in BASELINES.items()})


class Swap(NamedTuple):
    """`probability`: that the curve which is ahead at the largest common size is behind at some size up to `before`.
    `at`: where, given that it happens; None where it is too unlikely to say."""

    ahead: int
    probability: float
    at: Estimate | None
    before: float


EVIDENCE = 0.5
"""A swap is spoken of from this probability on; "the order stays" is the better guess below."""

PLACES = 60
KEPT = 400


def swap(ours: Curve, theirs: Curve, before: float, floor: float = FLOOR) -> Swap:
    """Every curve of one posterior against every curve of the other (the likeliest of each). Raises DataError and
    UsageError as `outlook` does."""
    common = min(float(ours.x[-1]), float(theirs.x[-1]))
    first, second = (likeliest(fit(curve, floor)) for curve in (ours, theirs))
    sizes = np.geomspace(common, max(before, common), PLACES)
    values = [np.stack([one.at(float(x)) for x in sizes], 1) for one in (first, second)]
    now = [float(one.weights @ at[:, 0]) for one, at in zip((first, second), values, strict=True)]
    ahead = int(now[1] < now[0])
    leader, follower = values[ahead], values[1 - ahead]
    weights = np.outer((first, second)[ahead].weights, (first, second)[1 - ahead].weights)
    crossed = first_crossing(leader, follower)
    happens = crossed < PLACES
    probability = float(weights[happens].sum())
    at = None
    if probability >= EVIDENCE:
        low, middle, high = quantiles(sizes[crossed[happens]], weights[happens], [0.05, 0.5, 0.95])
        at = Estimate(float(middle), float(low), float(high))
    return Swap(ahead, probability, at, float(sizes[-1]))


def likeliest(posterior: Posterior) -> Posterior:
    """The curves with the largest weights, which stand for all."""
    order = np.argsort(-posterior.weights, kind="stable")[:KEPT]
    weights = posterior.weights[order]
    return Posterior(posterior.floors[order], posterior.scales[order], posterior.exponents[order],
                     posterior.noise[order], weights / weights.sum(), posterior.largest)


def first_crossing(leader: Float[np.ndarray, "ours places"],
                   follower: Float[np.ndarray, "theirs places"]) -> np.ndarray:
    """For each pair of curves the place from which on the follower is below, and stays so; PLACES where it is not at
    the end. (At the beginning curves may lie the other way round by the noise of the points.)"""
    found = np.full((len(leader), len(follower)), PLACES)
    for number, ours in enumerate(leader):
        below = follower < ours
        ended = below[:, -1]
        last_above = PLACES - np.argmin(below[:, ::-1], axis=1)
        found[number] = np.where(ended, np.where(below.all(1), 0, last_above), PLACES)
    return np.minimum(found, PLACES)
