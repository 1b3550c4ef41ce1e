"""What a study of compute says, out of what was trained: sentences with intervals, and what speaks against them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np

from vitrail.studies.compute.compare import Pair, pair
from vitrail.studies.compute.frontier import CALLED, Family, Trained, family_of_runs, frontier
from vitrail.studies.compute.sentences import (
    best_words,
    budget_words,
    compute_words,
    family_words,
    models_words,
)
from vitrail.studies.doubts import chance_doubts, hardly_learned
from vitrail.studies.fit.curve import seed_deviation, supposed_deviation
from vitrail.studies.fit.outlook import WORTH_HAVING
from vitrail.studies.fit.posterior import LEAST_POINTS
from vitrail.studies.numerals import Unit, capital, percent, unit_for

POOR_FIT = 0.08
"""A curve that misses the points of its frontier by more than this share of the error, on average, is doubted."""


@dataclass(frozen=True)
class Answers:
    """`unit`: in which compute is told. `scatter`: of one run between seeds, as a share of its error; 0 where no seeds
    tell."""

    families: tuple[Family, ...]
    pairs: tuple[Pair, ...]
    unit: Unit
    scatter: float
    sentences: tuple[str, ...]
    doubts: tuple[str, ...]

    def family(self, name: str) -> Family:
        return next(family for family in self.families if family.name == name)


def answer(trained: Sequence[Trained], asked: Sequence[str], test_images: int | None = None,
           classes: int | None = None) -> Answers:
    """`trained`: at least one. `asked`: names of families, also of those that have no run yet. Without `test_images`
    and `classes` it is a table of the literature, whose noise is not known."""
    runs = [np.array(one.errors) for one in trained]
    scatter = seed_deviation(runs)
    supposed = supposed_deviation(runs) if test_images else scatter
    families = tuple(family_of_runs(name, [one for one in trained if one.family == name], supposed, test_images)
                     for name in CALLED if name in asked)
    curves = [family for family in families if family.posterior is not None]
    pairs = tuple(pair(first, second) for first, second in combinations(curves, 2))
    unit = unit_for(min(one.exaflops for one in trained))
    sentences = tuple(sentences_of(trained, families, curves, pairs, unit, scatter))
    return Answers(families, pairs, unit, scatter, sentences, (
        *(words for family in families if family.trained for words in doubts_of(family, classes, unit)),
        *(chance_doubts(test_images, any(len(one.errors) > 1 for one in trained)) if test_images else ())))


def sentences_of(trained: Sequence[Trained], families: Sequence[Family], curves: Sequence[Family],
                 pairs: Sequence[Pair], unit: Unit, scatter: float) -> Iterator[str]:
    """Of three families and more, those at equal compute are told of the first with each other one; the rest is in
    the table."""
    yield from map(compute_words, pairs)
    best = frontier(sorted(trained, key=lambda one: (one.exaflops, one.error)))
    if len({one.model for one in best}) > 1:
        yield models_words(best, unit, scatter)
    yield from (budget_words(pair, unit) for pair in pairs if pair.first is curves[0])
    if len(curves) > 2 and (words := best_words(curves, unit)):
        yield words
    yield from (family_words(family, unit) for family in families)


def models_of(family: Family) -> int:
    """How many sizes the frontier has."""
    return len({one.model for one in family.frontier})


def doubts_of(family: Family, classes: int | None, unit: Unit) -> list[str]:
    name, found = capital(family.called), []
    if LEAST_POINTS <= len(family.frontier) < WORTH_HAVING:
        found.append(f"{name}: {len(family.frontier)} points of a frontier are few; the curve can hardly be wrong on "
                     "them, and says little.")
    if models_of(family) == 1:
        found.append(f"{name}: the frontier is of one size only, {family.frontier[0].model}. A smaller or a larger one "
                     "may do better with the same compute.")
    dearest = family.trained[-1]
    if dearest not in family.frontier:
        best = family.frontier[-1]
        found.append(f"{name}: the dearest run ({dearest.model} for {dearest.length}, {unit.words(dearest.exaflops)}) "
                     f"is no better than one for {unit.words(best.exaflops)}. It is chance, or compute of this kind "
                     "buys nothing any more: the curve does not know of it.")
    if family.posterior is not None and family.misfit > POOR_FIT:
        found.append(f"{name}: the curve misses its points by {percent(family.misfit, 0)} of the error on average: no "
                     "law of this kind describes them.")
    if family.frontier[-1].error == 0:
        found.append(f"{name}: every test image is right at the end, which is counted as half an error. Use a harder "
                     "or a larger test set.")
    if classes and hardly_learned(family.frontier[0].error, classes):
        found.append(f"{name}: the cheapest run is hardly better than guessing, and bends the curve. Leave out the "
                     "shortest of --lengths.")
    return found
