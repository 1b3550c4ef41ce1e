"""What families of models and pairs of them say, in words with their intervals."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby

from vitrail.studies.compute.compare import Pair, Place, best_at
from vitrail.studies.compute.frontier import Family, Trained
from vitrail.studies.fit.posterior import LEAST_POINTS, Estimate
from vitrail.studies.numerals import Unit, capital, chance_words, percent, times

SURE = 0.9
"""Probability from which on a family is called the best, and a frontier is said to saturate."""

NO_SIGN = 0.2
"""Probability up to which a frontier shows no sign of it: what exact power laws come to."""

LONG_ENOUGH = 4.0
"""Times from the beginning of a frontier to its end, from which on saturation can be asked about."""


def compute_words(pair: Pair) -> str:
    """Whether one family needs more compute than the other for the same accuracy. The one that needs more in the
    middle of the accuracies that both reach is told first."""
    if not pair.levels:
        return no_level_words(pair)
    pair = pair if pair.middle.ratio.expected >= 1 else pair.turned()
    first, second, (at, ratio) = pair.first.called, pair.second.called, pair.middle
    said, where = times(ratio.expected), f"at {percent(1 - at)}"
    if len(pair.levels) > 1:
        where += ", in the middle of what both reach"
    if pair.middle.ahead is not None:
        return (f"For the same accuracy {second} need {said} times the compute of {first} (90 % interval "
                f"{interval(ratio)}; {where}).{'' if agree(pair) else ends_words(pair)}")
    if all(place.ahead is None for place in pair.levels):
        return (f"There is no evidence that {first} and {second} need different compute for the same accuracy: "
                f"{second} need {said} times that of {first}, with a 90 % interval of {interval(ratio)}, {where}.")
    return (f"{capital(where)}, there is no evidence that {first} and {second} need different compute for it ({second} "
            f"{said} times that of {first}, 90 % interval {interval(ratio)}).{ends_words(pair)}")


def agree(pair: Pair) -> bool:
    """Whether the same family is ahead at every accuracy; how far is in the table, then."""
    return len({place.ahead for place in pair.levels}) == 1


def ends_words(pair: Pair) -> str:
    """What is otherwise at the ends of the accuracies that both reach."""
    if len(pair.levels) == 1:
        return ""
    (start, first), (end, last) = ((place.at, place.ratio) for place in (pair.levels[0], pair.levels[-1]))
    return (f" At {percent(1 - start)} it is {times(first.expected)} times ({interval(first)}), at {percent(1 - end)} "
            f"{times(last.expected)} times ({interval(last)}).")


def no_level_words(pair: Pair) -> str:
    """One family is better with its least compute than the other with its most."""
    better, worse = sorted((pair.first, pair.second), key=lambda family: family.frontier[0].error)
    cheap, dear = better.frontier[0], worse.frontier[-1]
    said = (f"No accuracy was reached by both {pair.first.called} and {pair.second.called}: {better.called} begin at "
            f"{percent(1 - cheap.error)}, and {worse.called} end at {percent(1 - dear.error)}")
    if dear.exaflops > cheap.exaflops:
        return (f"{said} with {times(dear.exaflops / cheap.exaflops)} times the compute, so that they need more than "
                "that for the same accuracy.")
    return f"{said}. Larger or smaller models, or other --lengths, would bring them together."


def budget_words(pair: Pair, unit: Unit) -> str:
    """Which family makes fewer errors with the same compute, at the ends of what both were given."""
    if not pair.budgets:
        return (f"{capital(pair.first.called)} and {pair.second.called} were given no compute in common, so errors at "
                "equal compute cannot be compared.")
    parts = [budget_part(pair, place, unit) for place in pair.budgets]
    if len(parts) == 2 and not any(pair.budgets[place].ahead is not None for place in (0, 1)):
        first, last = (f"{unit.words(place.at)} ({fewer(turned_up(place.ratio))})" for place in pair.budgets)
        return (f"With equal compute there is no evidence that {pair.first.called} or {pair.second.called} are better: "
                f"neither with {first} nor with {last}.")
    return f"With {'; with '.join(parts)}."


def budget_part(pair: Pair, place: Place, unit: Unit) -> str:
    compute = unit.words(place.at)
    if place.ahead is None:
        return (f"{compute} there is no evidence of a difference between {pair.first.called} and {pair.second.called} "
                f"({fewer(turned_up(place.ratio))})")
    better, worse = (pair.first, pair.second) if place.ahead == 0 else (pair.second, pair.first)
    middle, low, high = turned_up(place.ratio) if place.ahead == 0 else place.ratio
    return (f"{compute} {better.called} make {percent(1 - middle, 0)} fewer errors than {worse.called} "
            f"({percent(1 - high, 0)} to {percent(1 - low, 0)})")


def turned_up(ratio: Estimate) -> Estimate:
    """The first's errors as so many times the second's."""
    return Estimate(1 / ratio.expected, 1 / ratio.high, 1 / ratio.low)


def fewer(ratio: Estimate) -> str:
    """Where a ratio of errors lies that may be below or above 1."""
    return f"{percent(1 - ratio.low, 0)} fewer to {percent(ratio.high - 1, 0)} more errors"


def best_words(families: Sequence[Family], unit: Unit) -> str | None:
    """Which family is the best with the least and with the most compute that all of three or more were given."""
    least = max(float(family.curve.x[0]) for family in families)
    most = min(float(family.curve.x[-1]) for family in families)
    if len(families) < 3 or least >= most:
        return None
    return f"{capital(best_part(families, least, unit))}; {best_part(families, most, unit)}."


def best_part(families: Sequence[Family], exaflops: float, unit: Unit) -> str:
    called = {family.name: family.called for family in families}
    likely = sorted(best_at(families, exaflops).items(), key=lambda one: -one[1])
    name, probability = likely[0]
    if probability >= SURE:
        return (f"with {unit.words(exaflops)} {called[name]} are the best of all (probability "
                f"{chance_words(probability)})")
    told = ", ".join(f"{called[name]} {chance_words(chance)}" for name, chance in likely)
    return f"with {unit.words(exaflops)} it is open which are the best of all (probabilities: {told})"


def family_words(family: Family, unit: Unit) -> str:
    """Its best run, and what more compute would bring."""
    if not family.trained:
        return f"{capital(family.called)}: none is finished yet."
    best = family.frontier[-1]
    said = (f"{capital(family.called)} reach {percent(1 - best.error)} with {unit.words(best.exaflops)}, by "
            f"{best.model} for {best.length}")
    if family.posterior is None:
        count = len(family.frontier)
        lie = "lies" if count == 1 else "lie"
        return (f"{said}; {count} of their {len(family.trained)} finished settings {lie} on the frontier, and "
                f"{LEAST_POINTS} are needed to say how it goes on.")
    gain = family.posterior.slope(float(family.curve.x[-1]))
    return (f"{said}. Twice as much compute would take away about {percent(gain.expected, 0)} of these errors "
            f"({percent(gain.low, 0)} to {percent(gain.high, 0)}){saturation_words(family)}.")


def saturation_words(family: Family) -> str:
    if family.curve.x[-1] < LONG_ENOUGH * family.curve.x[0]:
        return ""
    chance = family.saturates()
    told = f"probability {chance_words(chance)}"
    if chance <= NO_SIGN:
        return f"; there is no sign that it saturates ({told})"
    if chance < SURE:
        return f"; whether it saturates cannot be told yet ({told})"
    at_first = family.fitted.slope(float(family.curve.x[0])).expected
    return f", after {percent(at_first, 0)} at the beginning of the frontier: it saturates ({told})"


def models_words(runs: Sequence[Trained], unit: Unit, scatter: float) -> str:
    """Which model to train with which budget, by a frontier. `scatter`: of one run between seeds, 0 where it is not
    known."""
    first, *others = [next(own) for _, own in groupby(runs, key=lambda one: one.model)]
    chance = f" By its seed alone, a run's error is off by {percent(scatter, 0)} of itself." if scatter else ""
    rest = "".join(f", {one.model} from {unit.number(one.exaflops)} ({percent(1 - one.error)})" for one in others)
    return (f"Best for the compute: {first.model} from {unit.words(first.exaflops)} on ({percent(1 - first.error)})"
            f"{rest}.{chance}")


def interval(estimate: Estimate) -> str:
    return f"{times(estimate.low)} to {times(estimate.high)}"
