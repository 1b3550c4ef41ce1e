"""What a probe found, as one value that is also the JSON."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
from pydantic import BaseModel, ConfigDict

from vitrail.evaluation import Unread
from vitrail.evaluation.interval import RESAMPLES, bootstrap_interval

STUDENT = (12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228, 2.201, 2.179, 2.160, 2.145, 2.131,
           2.120, 2.110, 2.101, 2.093, 2.086, 2.080, 2.074, 2.069, 2.064, 2.060, 2.056, 2.052, 2.048, 2.045, 2.042)
"""Student's t, 97.5 %, for 1 to 30 degrees of freedom."""


class Score(BaseModel):
    """One method at one setting on one source. Fractions are 0 to 1.

    `accuracies`: one for each draw of training images, by seed 0, 1, ...; `images`: how many were learned from.
    A test picture that cannot be read counts as wrong. `interval`: 95 % for `mean`; `over` "draws" says how far another
    choice of as many training images would move it, and "test images", where there was one choice, another sample of
    test images. `chosen`: the penalty or learning rate that the dev split of each draw chose.
    """

    model_config = ConfigDict(frozen=True)

    source: str
    method: str
    setting: str
    shots: int | None
    images: int
    accuracies: tuple[float, ...]
    mean: float
    interval: tuple[float, float]
    over: Literal["draws", "test images"]
    chosen: tuple[float, ...] = ()


class Measured(BaseModel):
    """One source: how many images its splits have, and the pictures that could not be read."""

    model_config = ConfigDict(frozen=True)

    source: str
    kind: str
    classes: int
    train: int
    test: int
    unread: tuple[Unread, ...] = ()


class SuiteScore(BaseModel):
    """The mean of one method at one setting over all sources, each counting the same."""

    model_config = ConfigDict(frozen=True)

    method: str
    setting: str
    mean: float
    interval: tuple[float, float]


class Probed(BaseModel):
    """The result; `model_dump_json()` is what `vitrail probe --json` prints."""

    model_config = ConfigDict(frozen=True)

    model: str
    layer: str
    width: int
    sources: tuple[Measured, ...]
    scores: tuple[Score, ...]
    suite: tuple[SuiteScore, ...] = ()
    notes: tuple[str, ...] = ()


def scored(accuracies: Sequence[float], test_images: int, **facts: Any) -> Score:
    """The interval is over draws; where they all agree, or there is one, over test images."""
    mean = float(np.mean(accuracies))
    if len(set(accuracies)) > 1:
        return Score(accuracies=tuple(accuracies), mean=mean, interval=student_interval(accuracies), over="draws",
                     **facts)
    interval = bootstrap_interval(round(mean * test_images), test_images)
    return Score(accuracies=tuple(accuracies), mean=mean, interval=interval, over="test images", **facts)


def student_interval(values: Sequence[float]) -> tuple[float, float]:
    """95 % for the mean of a few fractions, by Student's t; cut to 0 and 1."""
    freedom = len(values) - 1
    quantile = STUDENT[freedom - 1] if freedom <= len(STUDENT) else 1.96 + 2.5 / freedom
    mean, half = float(np.mean(values)), quantile * float(np.std(values, ddof=1)) / len(values) ** 0.5
    return max(mean - half, 0.0), min(mean + half, 1.0)


def suite_of(scores: Sequence[Score], sources: Sequence[Measured]) -> tuple[SuiteScore, ...]:
    """The means over all sources of what was measured on each of them."""
    tests = {source.source: source.test for source in sources}
    settings = dict.fromkeys((score.method, score.setting) for score in scores)
    rows = {key: [score for score in scores if (score.method, score.setting) == key] for key in settings}
    return tuple(SuiteScore(method=method, setting=setting, mean=float(np.mean([score.mean for score in row])),
                            interval=suite_interval(row, tests))
                 for (method, setting), row in rows.items() if len(row) == len(sources) > 1)


def suite_interval(row: Sequence[Score], test_images: dict[str, int], seed: int = 0) -> tuple[float, float]:
    """The percentile bootstrap of the mean over these sources: in each resample every source draws again from its
    draws, and as many test images as it has. The sources are the suite; no others are imagined."""
    generator = np.random.default_rng(seed)
    total = np.zeros(RESAMPLES)
    for score in row:
        drawn = generator.choice(score.accuracies, (RESAMPLES, len(score.accuracies))).mean(1)
        images = test_images[score.source]
        total += generator.binomial(images, np.clip(drawn, 0, 1)) / images
    low, high = np.quantile(total / len(row), [0.025, 0.975])
    return float(low), float(high)
