"""What a study of data sizes says, in sentences first: out of the lines of the ledger, with intervals, and what each
sentence rests on."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

from vitrail.errors import DataError, UsageError
from vitrail.studies.fit.curve import Curve, curve_of
from vitrail.studies.fit.outlook import FAR, Outlook, Swap, outlook, swap
from vitrail.studies.fit.posterior import LEAST_POINTS, Estimate, Reach, floor_for
from vitrail.studies.ledger import Row
from vitrail.studies.numerals import percent, rounded

OPEN = 0.25
"""A swap of at least this probability may come, though it is not likely."""


@dataclass(frozen=True)
class ModelAnswer:
    """One model: its points (images, test error, one for each run) and what the curve through them says. `outlook` is
    None where there are too few sizes, and `sentences` say so."""

    model: str
    points: tuple[tuple[int, float], ...]
    outlook: Outlook | None
    sentences: tuple[str, ...]


@dataclass(frozen=True)
class Answers:
    """`sentences` of the whole study, the most important first; `doubts`: what speaks against believing them."""

    models: tuple[ModelAnswer, ...]
    sentences: tuple[str, ...]
    doubts: tuple[str, ...]
    swaps: dict[str, Swap] = field(default_factory=dict)


def answer(rows: Sequence[Row], models: Sequence[str], target: float | None = None,
           at: Sequence[int] = ()) -> Answers:
    """`rows`: finished cells. `target`: an accuracy from 0 to 1. `at`: numbers of images that are asked about, however
    far away.

    Raises UsageError for a target that is none, DataError where no cell is finished.
    """
    refuse_target(target)
    if not rows:
        raise DataError("No cell of this study is finished, so there is nothing to say yet. Give it more --time.")
    told = tuple(of_model(model, [row for row in rows if row["labels"]["model"] == model], target, at)
                 for model in models)
    swaps, compared = compare(told)
    doubts = tuple(f"{one.model}: {words}" for one in told if one.outlook for words in one.outlook.warnings)
    doubts += tuple(dict.fromkeys(words for one in told if one.outlook for size in at
                                  if (words := one.outlook.distance(size))))
    if not compared:
        return Answers(told, tuple(words for one in told for words in one.sentences), doubts, swaps)
    each = tuple(" ".join(one.sentences) for one in told)
    return Answers(told, (best_words(told), *compared, *each), doubts, swaps)


def refuse_target(target: float | None) -> None:
    """Raises UsageError for what no accuracy can be."""
    if target is not None and not 0 < target < 1:
        raise UsageError(f"--target {target:g} is not an accuracy that can be aimed at: it must be above 0 and below 1 "
                         "(0.94 for 94 %). Nothing reaches 100 % for sure.")


def of_model(model: str, rows: Sequence[Row], target: float | None, at: Sequence[int]) -> ModelAnswer:
    points = tuple(sorted((int(row["labels"]["images"]), 1 - float(row["result"]["test"]["top1"])) for row in rows))
    sizes = len({size for size, _ in points})
    if sizes < LEAST_POINTS:
        return ModelAnswer(model, points, None, (f"{model}: {sizes} sizes are finished, and {LEAST_POINTS} are needed "
                                                 "to say how it goes on.",))
    asked = int(rows[0]["result"]["test"]["images"])
    curve = curve_of(points, test_images=asked)
    seen = outlook(curve, floor_for(asked))
    largest = float(curve.x[-1])
    sentences = [f"{model} names {percent(1 - curve.y[-1])} of the test images rightly after training on "
                 f"{largest:,.0f}."]
    sentences += [f"{size:,} images would bring about {accuracy(seen.predict(size, force=True))}." for size in at]
    if 2 * largest not in at:
        double = seen.predict(2 * largest)
        sentences.append(f"Twice as many images ({2 * largest:,.0f}) would bring about {accuracy(double)}.")
    aim = target if target is not None else next_percent(1 - float(curve.y[-1]))
    sentences.append(target_words(aim, seen, largest))
    if seen.backtest is not None:
        tested = seen.backtest
        held = "within it" if tested.held else "outside of it"
        sentences.append(f"How far to trust this: from the smaller sizes, {accuracy(tested.predicted)} was foretold "
                         f"for {tested.x:,.0f} images; {percent(1 - tested.measured)} was measured, {held}.")
    return ModelAnswer(model, points, seen, tuple(sentences))


def target_words(aim: float, seen: Outlook, largest: float) -> str:
    """How many more images an accuracy needs, or why nobody can say."""
    if 1 - aim >= float(seen.curve.y[-1]):
        return f"{percent(aim)} is reached already."
    reach = seen.posterior.size_for(1 - aim)
    if reach.size is None:
        return (f"{percent(aim)} is out of reach by more images alone, with a probability of "
                f"{percent(reach.unreachable, 0)}: a larger model, trained weights or cleaner labels would have to "
                "help.")
    if reach.size.expected <= largest:
        return f"{percent(aim)} is what the curve expects of so many images already: chance decides."
    return f"{percent(aim)} needs about {more(reach, largest)}."


def more(reach: Reach, largest: float) -> str:
    assert reach.size is not None
    low, middle, high = (max(value - largest, 0.0) for value in (reach.size.low, reach.size.expected, reach.size.high))
    if middle > (FAR - 1) * largest:
        return (f"{rounded(middle)} more images or even others: that is more than {FAR:g} times what was measured, too "
                "far to say. Collect twice as many first, and ask again")
    upper = rounded(high) if math.isfinite(high) and high < 100 * largest else "no bound"
    maybe = f"; out of reach with a probability of {percent(reach.unreachable, 0)}" if reach.unreachable >= 0.05 else ""
    return f"{rounded(middle)} more images ({rounded(low)} to {upper}{maybe})"


def best_words(models: Sequence[ModelAnswer]) -> str:
    """Which is the best at the largest size of all, and how far the others are."""
    curves = {one.model: one.outlook.curve for one in models if one.outlook is not None}
    largest = max(float(curve.x[-1]) for curve in curves.values())
    there = {model: 1 - float(curve.y[-1]) for model, curve in curves.items() if curve.x[-1] == largest}
    best, *others = sorted(there, key=there.__getitem__, reverse=True)
    rest = "".join(f"{', ' if number else '; '}{model} {percent(there[model])}" for number, model in enumerate(others))
    return f"With {largest:,.0f} images {best} is the best: {percent(there[best])} of the test images{rest}."


def compare(models: Sequence[ModelAnswer]) -> tuple[dict[str, Swap], tuple[str, ...]]:
    """Each two models: who is ahead where, and whether that is likely to change."""
    swaps, sentences = {}, []
    curves = [(one.model, one.outlook.curve) for one in models if one.outlook is not None]
    for place, (first, ours) in enumerate(curves):
        for second, theirs in curves[place + 1:]:
            before = FAR * min(float(ours.x[-1]), float(theirs.x[-1]))
            found = swap(ours, theirs, before)
            swaps[f"{first} and {second}"] = found
            sentences.append(pair_words(first, ours, second, theirs, found))
    return swaps, tuple(sentences)


def pair_words(first: str, ours: Curve, second: str, theirs: Curve, found: Swap) -> str:
    sizes = [float(x) for x in ours.x if x in set(theirs.x.tolist())]
    leads = [float(ours.y[ours.x == size][0]) < float(theirs.y[theirs.x == size][0]) for size in sizes]
    leader, other = (first, second) if found.ahead == 0 else (second, first)
    ahead_at_end = leads[-1] if leads else found.ahead == 0
    changed = [size for size, lead in zip(sizes, leads, strict=True) if lead != ahead_at_end]
    before = (f"{other} is ahead up to {changed[-1]:,.0f} images, {leader} from there on" if changed
              else f"{leader} is ahead of {other} at every size")
    if found.at is not None:
        later = (f"they are likely to change places at about {found.at.expected:,.0f} ({found.at.low:,.0f} to "
                 f"{found.at.high:,.0f}; probability {percent(found.probability, 0)})")
    elif found.probability >= OPEN:
        later = (f"whether they change places before {found.before:,.0f} is open (probability "
                 f"{percent(found.probability, 0)})")
    else:
        later = (f"there is no evidence that they change places before {found.before:,.0f} (probability "
                 f"{percent(found.probability, 0)})")
    return f"{before}; {later}."


def next_percent(reached: float) -> float:
    """The next whole percent, at least half a point away."""
    return min(math.floor(100 * reached + 1.5) / 100, 0.999)


def accuracy(error: Estimate) -> str:
    """Of an error with its interval."""
    return f"{percent(1 - error.expected)} ({percent(1 - error.high)} to {percent(max(0.0, 1 - error.low))})"
