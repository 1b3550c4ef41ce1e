"""What a study of data sizes says, in sentences first: out of the lines of the ledger, with intervals, and what each
sentence rests on."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import NamedTuple

import numpy as np

from vitrail.data.sources.contract import counted
from vitrail.errors import DataError, UsageError
from vitrail.studies.data_size.pairs import compare, lead
from vitrail.studies.doubts import chance_doubts, hardly_learned
from vitrail.studies.fit.curve import curve_of, supposed_deviation
from vitrail.studies.fit.outlook import FAR, Outlook, Swap, outlook
from vitrail.studies.fit.posterior import LEAST_POINTS, Estimate, Reach, floor_for
from vitrail.studies.intervals import Mean, measured
from vitrail.studies.ledger import Row
from vitrail.studies.numerals import chance_words, percent, rounded


class Point(NamedTuple):
    """A run: how many images it trained on, its error on the images that are asked, its seed."""

    images: int
    error: float
    seed: int


@dataclass(frozen=True)
class ModelAnswer:
    """One model: its points, on so many `asked` images, and what the curve through them says. `outlook` is None where
    there are too few sizes, and `sentences` say so; `aim`: the accuracy that they ask about."""

    model: str
    points: tuple[Point, ...]
    outlook: Outlook | None
    sentences: tuple[str, ...]
    asked: int = 0
    aim: float = 0.0

    @property
    def scores(self) -> dict[int, list[float]]:
        """Accuracies of the runs at each size."""
        return {size: [1 - point.error for point in self.points if point.images == size]
                for size in dict.fromkeys(point.images for point in self.points)}

    @property
    def best(self) -> Mean:
        """At the largest size, with the chance that all sizes show."""
        largest = self.points[-1].images
        deviation = supposed_deviation([1 - np.array(own) for own in self.scores.values()])
        return measured(self.scores[largest], self.asked, deviation)


@dataclass(frozen=True)
class Answers:
    """`sentences` of the whole study, the most important first; `doubts`: what speaks against believing them."""

    models: tuple[ModelAnswer, ...]
    sentences: tuple[str, ...]
    doubts: tuple[str, ...]
    swaps: dict[str, Swap] = field(default_factory=dict)


def answer(rows: Sequence[Row], models: Sequence[str], target: float | None = None, at: Sequence[int] = (),
           classes: int | None = None) -> Answers:
    """`rows`: finished cells. `target`: an accuracy from 0 to 1. `at`: numbers of images that are asked about, however
    far away. `classes`: how many there are to guess among.

    Raises UsageError for a target that is none, DataError where no cell is finished.
    """
    refuse_target(target)
    if not rows:
        raise DataError("No cell of this study is finished, so there is nothing to say yet. Give it more --time.")
    told = tuple(of_model(model, [row for row in rows if row["labels"]["model"] == model], target, at)
                 for model in models)
    swaps, compared = compare([(one.model, one.outlook.curve) for one in told if one.outlook is not None])
    doubts = doubts_of(told, rows, at, classes)
    if not compared:
        return Answers(told, tuple(words for one in told for words in one.sentences), doubts, swaps)
    each = tuple(" ".join(one.sentences) for one in told)
    return Answers(told, (best_words(told), *compared, *each), doubts, swaps)


def doubts_of(told: Sequence[ModelAnswer], rows: Sequence[Row], at: Sequence[int],
              classes: int | None) -> tuple[str, ...]:
    said = [f"{one.model}: {words}" for one in told if one.outlook for words in one.outlook.warnings]
    for one in told:
        if classes and one.outlook and hardly_learned(float(one.outlook.curve.y[0]), classes):
            said.append(f"{one.model}: with {one.outlook.curve.x[0]:,.0f} images it is hardly better than guessing, "
                        "which bends the curve. Fewer --sizes leave the smallest out.")
        if none := [size for size, own in one.scores.items() if min(own) == 1]:
            sizes = " and ".join(f"{size:,}" for size in none)
            said.append(f"{one.model}: with {sizes} training images every one that is asked is right, which is counted "
                        "as half an error. Use a harder or a larger test set.")
    far = (one.outlook.distance(size) for one in told if one.outlook for size in at)
    said += dict.fromkeys(words for words in far if words)
    several = any(len(own) > 1 for one in told for own in one.scores.values())
    return (*said, *chance_doubts(int(rows[0]["result"]["test"]["images"]), several))


def refuse_target(target: float | None) -> None:
    """Raises UsageError for what no accuracy can be."""
    if target is not None and not 0 < target < 1:
        sure = " Nothing reaches 100 % for sure." if target == 1 else ""
        raise UsageError(f"--target {target:g} is not an accuracy that can be aimed at: it must be above 0 and below 1 "
                         f"(0.94 for 94 %).{sure}")


def of_model(model: str, rows: Sequence[Row], target: float | None, at: Sequence[int]) -> ModelAnswer:
    points = tuple(sorted(Point(int(row["labels"]["images"]), 1 - float(row["result"]["test"]["top1"]),
                                int(row["labels"].get("seed", 0))) for row in rows))
    sizes = len({point.images for point in points})
    if sizes < LEAST_POINTS:
        finished = f"{counted(sizes, 'size')} {'is' if sizes == 1 else 'are'} finished"
        return ModelAnswer(model, points, None, (f"{model}: {finished}, and {LEAST_POINTS} are needed to say how it "
                                                 "goes on.",))
    asked, split = int(rows[0]["result"]["test"]["images"]), rows[0]["result"]["test"].get("split")
    least = 0.5 / asked  # no error at all counts as half an image, which has a logarithm
    curve = curve_of([(point.images, max(point.error, least)) for point in points], test_images=asked)
    seen = outlook(curve, floor_for(asked))
    largest = float(curve.x[-1])
    aim = target if target is not None else next_percent(1 - min(
        float(curve.y[-1]), float(seen.posterior.weights @ seen.posterior.at(largest))))
    found = ModelAnswer(model, points, seen, (), asked, aim)
    held = f"{'validation' if split == 'val' else 'test'} images"
    sentences = [f"{model} names {mean_words(found.best)} of the {held} rightly after training on {largest:,.0f}."]
    sentences += [f"{size:,} images would bring about {accuracy(seen.predict(size, force=True))}." for size in at]
    if 2 * largest not in at:
        double = seen.predict(2 * largest)
        sentences.append(f"Twice as many images ({2 * largest:,.0f}) would bring about {accuracy(double)}.")
    sentences.append(target_words(aim, seen, largest))
    if seen.backtest is not None:
        tested = seen.backtest
        held = "within it" if tested.held else "outside of it"
        sentences.append(f"How far to trust this: from the smaller sizes, {accuracy(tested.predicted)} was foretold "
                         f"for {tested.x:,.0f} images; {percent(1 - tested.measured)} was measured, {held}.")
    return replace(found, sentences=tuple(sentences))


def target_words(aim: float, seen: Outlook, largest: float) -> str:
    """How many more images an accuracy needs, or why nobody can say."""
    if 1 - aim >= float(seen.curve.y[-1]):
        return f"{percent(aim)} is reached already."
    reach = seen.posterior.size_for(1 - aim)
    if reach.size is None:
        return (f"{percent(aim)} is out of reach by more images alone, with a probability of "
                f"{chance_words(reach.unreachable)}: longer training, another model or cleaner labels would have to "
                "help.")
    if reach.size.expected <= largest:
        return f"{percent(aim)} is what the curve expects of so many images already: chance decides."
    return f"{percent(aim)} needs about {more(reach, largest)}."


def more(reach: Reach, largest: float) -> str:
    assert reach.size is not None
    low, middle, high = (max(value - largest, 0.0) for value in (reach.size.low, reach.size.expected, reach.size.high))
    if middle > (FAR - 1) * largest:
        return (f"{rounded(middle)} more images by the curve: that is more than {FAR:g} times what was measured, too "
                "far to say. Collect twice as many first, and ask again")
    upper = rounded(high) if math.isfinite(high) and high < 100 * largest else "no bound"
    maybe = f"; out of reach with a probability of {percent(reach.unreachable, 0)}" if reach.unreachable >= 0.05 else ""
    return f"{rounded(middle)} more images ({rounded(low)} to {upper}{maybe})"


def best_words(models: Sequence[ModelAnswer]) -> str:
    """Which is the best at the largest size of all, and how far the others are."""
    known = [one for one in models if one.outlook is not None]
    largest = max(one.points[-1].images for one in known)
    best, *others = sorted((one for one in known if one.points[-1].images == largest), key=lambda one: -one.best.value)
    alike = [one.model for one in others if one.outlook and best.outlook and not lead(
        best.outlook.curve, one.outlook.curve, largest)]
    rest = "".join(f"; {one.model} {mean_words(one.best)}" for one in others)
    doubt = f" Whether it is better than {' or '.join(alike)} is too close to tell." if alike else ""
    return f"With {largest:,.0f} images {best.model} came out ahead: {mean_words(best.best)}{rest}.{doubt}"


def mean_words(mean: Mean) -> str:
    """`88.1 % (87.6 to 88.6, 3 seeds)`, where the interval holds what seeds and the images that are asked leave open.
    """
    assert mean.low is not None
    assert mean.high is not None
    return f"{percent(mean.value)} ({percent(mean.low)} to {percent(mean.high)}, {counted(mean.count, 'seed')})"


def next_percent(reached: float) -> float:
    """The next whole percent, at least half a point away."""
    return min(math.floor(100 * reached + 1.5) / 100, 0.999)


def accuracy(error: Estimate) -> str:
    """Of an error with its interval."""
    low, high = max(0.0, 1 - error.high), min(1.0, 1 - error.low)
    return f"{percent(1 - error.expected)} ({percent(low)} to {percent(high)})"
