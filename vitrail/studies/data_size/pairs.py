"""Which of several models is ahead at which size, where that can be told, and whether they are likely to change places.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import groupby

from vitrail.studies.fit.curve import Curve
from vitrail.studies.fit.outlook import FAR, Swap, swap
from vitrail.studies.intervals import NORMAL
from vitrail.studies.numerals import chance_words

OPEN = 0.25
"""A swap of at least this probability may come, though it is not likely."""


def compare(curves: Sequence[tuple[str, Curve]]) -> tuple[dict[str, Swap], tuple[str, ...]]:
    """Each two of them, by their names."""
    swaps, sentences = {}, []
    for place, (first, ours) in enumerate(curves):
        for second, theirs in curves[place + 1:]:
            before = FAR * min(float(ours.x[-1]), float(theirs.x[-1]))
            found = swap(ours, theirs, before)
            swaps[f"{first} and {second}"] = found
            sentences.append(pair_words(first, ours, second, theirs, found))
    return swaps, tuple(sentences)


def pair_words(first: str, ours: Curve, second: str, theirs: Curve, found: Swap) -> str:
    before, chance = f"{found.before:,.0f}", f"probability {chance_words(found.probability)}"
    if found.at is not None:
        later = (f"they are likely to change places at about {found.at.expected:,.0f} ({found.at.low:,.0f} to "
                 f"{found.at.high:,.0f}; {chance})")
    elif found.probability >= OPEN:
        later = f"whether they change places before {before} is open ({chance})"
    else:
        later = f"there is no evidence that they change places before {before} ({chance})"
    return f"{measured_words(first, ours, second, theirs)}; {later}."


def measured_words(first: str, ours: Curve, second: str, theirs: Curve) -> str:
    """Who is ahead at the sizes that both have, from the smallest on."""
    sizes = [float(x) for x in ours.x if x in set(theirs.x.tolist())]
    leads = [(lead(ours, theirs, size), size) for size in sizes]
    spans = [(who, [size for _, size in span]) for who, span in groupby(leads, key=lambda one: one[0])]
    ahead = {1: f"{first} is ahead", -1: f"{second} is ahead", 0: "it is too close to tell"}
    if len(spans) < 2:
        who = spans[0][0] if spans else 0
        return (f"{first} and {second} are too close to tell apart at every size" if who == 0 else
                f"{first} is ahead of {second} at every size" if who == 1 else
                f"{second} is ahead of {first} at every size")
    said = [f"{ahead[who]} {where}" for (who, _), where in zip(spans, places([own for _, own in spans]), strict=True)]
    return f"{first} and {second}: {', '.join(said)}"


def places(spans: Sequence[Sequence[float]]) -> list[str]:
    """Of sizes in a row, in words: up to 500, at 1,000, from 2,000 to 4,000, from 8,000 on."""
    between = [f"at {own[0]:,.0f}" if len(own) == 1 else f"from {own[0]:,.0f} to {own[-1]:,.0f}" for own in spans[1:-1]]
    return [f"up to {spans[0][-1]:,.0f} images", *between, f"from {spans[-1][0]:,.0f} on"]


def lead(ours: Curve, theirs: Curve, size: float) -> int:
    """1 where ours has the smaller error at a size, -1 where theirs has, 0 where it may be chance: the difference lies
    within the 90 % interval of what seeds and test images leave open."""
    gap = math.log(at(theirs, size) / at(ours, size))
    if abs(gap) <= NORMAL * math.hypot(ours.scatter, theirs.scatter):
        return 0
    return 1 if gap > 0 else -1


def at(curve: Curve, size: float) -> float:
    return float(curve.y[curve.x == size][0])
