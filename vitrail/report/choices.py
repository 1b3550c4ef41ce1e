"""Which images are worth showing: typical answers, frequent confusions, confident mistakes."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from vitrail.evaluation import Evaluation


class Confusion(NamedTuple):
    """`times` of the `images` of class `true` were called `said`; `places` are some of them, surest first."""

    true: int
    said: int
    times: int
    images: int
    places: list[int]


class Mistake(NamedTuple):
    """A wrong answer. `place`: which picture of the split. `true`: its classes by name. `said` with what probability;
    `true_probability` that of the right class, None with several labels an image."""

    place: int
    true: str
    said: str
    probability: float
    true_probability: float | None


def confusions(evaluation: Evaluation, most: int = 8, examples: int = 4) -> list[Confusion]:
    """The most frequent ways to be wrong."""
    if evaluation.confusion is None:
        return []
    counts = np.array(evaluation.confusion)
    np.fill_diagonal(counts, 0)
    answers, chosen = evaluation.answers, []
    for flat in np.argsort(-counts, axis=None, kind="stable")[:most]:
        true, said = (int(part) for part in np.unravel_index(flat, counts.shape))
        if not counts[true, said]:
            break
        rows = np.flatnonzero((answers.truth == true) & (answers.predicted == said))
        rows = rows[np.argsort(-answers.confidence[rows], kind="stable")][:examples]
        chosen.append(Confusion(true, said, int(counts[true, said]), evaluation.per_class[true].images,
                                answers.indices[rows].tolist()))
    return chosen


def mistakes(evaluation: Evaluation, most: int = 12) -> list[Mistake]:
    """Wrong answers, the surest first; with several labels an image, labels that it does not have."""
    answers, names = evaluation.answers, evaluation.classes
    if answers.scores is not None:
        return false_alarms(evaluation, most)
    wrong = np.flatnonzero(answers.ranks > 0)
    wrong = wrong[np.argsort(-answers.confidence[wrong], kind="stable")][:most]
    return [Mistake(int(answers.indices[row]), names[answers.truth[row]], names[answers.predicted[row]],
                    float(answers.confidence[row]), float(answers.true_confidence[row])) for row in wrong]


def false_alarms(evaluation: Evaluation, most: int) -> list[Mistake]:
    answers, names = evaluation.answers, evaluation.classes
    assert answers.scores is not None  # kept wherever an image has several labels
    absent = np.where(answers.truth > 0.5, -1.0, answers.scores)
    said, highest = absent.argmax(1), absent.max(1)
    order = [row for row in np.argsort(-highest, kind="stable")[:most] if highest[row] > 0.5]
    return [Mistake(int(answers.indices[row]),
                    ", ".join(names[label] for label in np.flatnonzero(answers.truth[row] > 0.5)) or "nothing",
                    names[said[row]], float(highest[row]), None) for row in order]


def typical(evaluation: Evaluation | None, pictures: int, most: int = 4) -> list[int]:
    """Pictures of a split for the attention maps: right answers of middling confidence, of different classes.

    `pictures` is how many the split has. Without an evaluation, or without a right answer, some from all over it.
    """
    if evaluation is not None and not evaluation.multilabel:
        answers = evaluation.answers
        right = np.flatnonzero(answers.ranks == 0)
        classes = np.unique(answers.truth[right])
        chosen = []
        for label in classes[np.linspace(0, len(classes) - 1, min(most, len(classes))).round().astype(int)]:
            rows = right[answers.truth[right] == label]
            rows = rows[np.argsort(answers.confidence[rows], kind="stable")]
            chosen.append(int(answers.indices[rows[len(rows) // 2]]))
        if chosen:
            return chosen
    places = answered(evaluation, pictures)
    return places[np.linspace(0, len(places) - 1, min(most, len(places))).round().astype(int)].tolist()


def answered(evaluation: Evaluation | None, pictures: int) -> np.ndarray:
    return np.arange(pictures) if evaluation is None else evaluation.answers.indices
