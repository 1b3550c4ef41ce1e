"""`evaluate`: how well a Bundle does on a split with labels, as one value that is also the JSON."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from vitrail.bundle import Bundle
from vitrail.data.source import Split
from vitrail.evaluation.align import class_counts
from vitrail.evaluation.answers import Answers, Precision, answer
from vitrail.evaluation.calibration import calibration_error
from vitrail.evaluation.interval import bootstrap_interval
from vitrail.evaluation.ranking import average_precision
from vitrail.vocabulary import Progress


class Unread(BaseModel):
    """A picture that could not be read."""

    model_config = ConfigDict(frozen=True)

    path: str
    error: str


class ClassResult(BaseModel):
    """One class. `accuracy`: share of its images that got it (recall). `precision`: share of the images called so
    that are it. With several labels an image both are None and `average_precision` says how well the label ranks.
    None where there is nothing to divide by."""

    model_config = ConfigDict(frozen=True, serialize_by_alias=True)

    name: str = Field(serialization_alias="class")
    images: int
    accuracy: float | None = None
    precision: float | None = None
    average_precision: float | None = None


class Evaluation(BaseModel):
    """The result; `model_dump_json()` is what `vitrail evaluate --json` prints. Fractions are 0 to 1.

    A picture that cannot be read is never replaced: it stands in `errors`, counts in `images`, and counts as wrong
    in `top1`, `top5`, `interval` and its class's `accuracy`. `loss`, `ece`, `confusion` and average precision are
    over the answered images. `top5` is over as many classes as there are, where there are fewer than five.
    `confusion[true][predicted]` counts images. With several labels an image, `top1`, `top5`, `ece`, `interval` and
    `confusion` are None and `mean_average_precision` is the score.
    """

    model_config = ConfigDict(frozen=True, arbitrary_types_allowed=True, serialize_by_alias=True)

    top1: float | None
    top5: float | None
    loss: float | None
    ece: float | None
    interval: tuple[float, float] | None
    mean_average_precision: float | None = None
    per_class: tuple[ClassResult, ...]
    confusion: list[list[int]] | None
    classes: tuple[str, ...]
    images: int
    errors: tuple[Unread, ...] = ()
    answers: Answers = Field(exclude=True, repr=False)

    @property
    def multilabel(self) -> bool:
        return self.confusion is None


def evaluate(bundle: Bundle, split: Split, *, batch_size: int = 64, workers: int | None = None,
             precision: Precision = "fp32", seed: int = 0,
             progress: Callable[[Progress], None] | None = None) -> Evaluation:
    """Answer every image of `split` once and count. The labels are in the Bundle's class order (`align` does that).

    `seed` is for the bootstrap interval. Raises DataError and BundleError as `answer` does.
    """
    answers = answer(bundle, split, batch_size=batch_size, workers=workers, precision=precision, progress=progress)
    return counted(bundle, answers, seed=seed)


def counted(bundle: Bundle, answers: Answers, *, seed: int = 0) -> Evaluation:
    """What the answers of a Bundle come to."""
    names = bundle.classes or tuple(str(index) for index in range(bundle.model.config.classes))
    if answers.multilabel:
        return summarize_labels(answers, names)
    return summarize(answers, names, calibrated=bundle.activation != "none", seed=seed)


def summarize(answers: Answers, classes: tuple[str, ...], *, calibrated: bool = True, seed: int = 0) -> Evaluation:
    """Count what was answered, for one label an image."""
    images = len(answers.labels)
    correct = answers.ranks == 0
    confusion = np.zeros((len(classes), len(classes)), dtype=np.int64)
    np.add.at(confusion, (answers.truth, answers.predicted), 1)
    return Evaluation(
        top1=int(correct.sum()) / images,
        top5=int((answers.ranks < 5).sum()) / images,
        loss=float(answers.losses.mean(dtype=np.float64)) if calibrated else None,
        ece=calibration_error(answers.confidence, correct) if calibrated else None,
        interval=bootstrap_interval(int(correct.sum()), images, seed=seed),
        per_class=per_class(confusion, class_counts(answers.labels, len(classes)), classes),
        confusion=confusion.tolist(), classes=classes, images=images, errors=unread(answers), answers=answers)


def per_class(confusion: np.ndarray, images: np.ndarray, classes: tuple[str, ...]) -> tuple[ClassResult, ...]:
    right, called = confusion.diagonal(), confusion.sum(0)
    return tuple(ClassResult(name=name, images=int(images[index]), accuracy=share(right[index], images[index]),
                             precision=share(right[index], called[index])) for index, name in enumerate(classes))


def share(part: np.integer, whole: np.integer) -> float | None:
    return int(part) / int(whole) if whole else None


def summarize_labels(answers: Answers, classes: tuple[str, ...]) -> Evaluation:
    """Count what was answered, for several labels an image."""
    assert answers.scores is not None  # `answer` keeps them whenever an image has several labels
    positive = answers.truth > 0.5
    precisions = [average_precision(answers.scores[:, index], positive[:, index]) for index in range(len(classes))]
    counts = class_counts(answers.labels > 0.5, len(classes))
    known = [value for value in precisions if value is not None]
    results = tuple(ClassResult(name=name, images=int(count), average_precision=value)
                    for name, count, value in zip(classes, counts, precisions, strict=True))
    return Evaluation(
        top1=None, top5=None, ece=None, interval=None, confusion=None,
        loss=float(answers.losses.mean(dtype=np.float64)),
        mean_average_precision=float(np.mean(known)) if known else None,
        per_class=results, classes=classes, images=len(answers.labels), errors=unread(answers), answers=answers)


def unread(answers: Answers) -> tuple[Unread, ...]:
    return tuple(Unread(path=error.path, error=error.reason) for error in answers.errors)
