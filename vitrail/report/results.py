"""Tables of the page: the confusion matrix and the classes one by one."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from vitrail.evaluation import ClassResult, Evaluation
from vitrail.report.pictures import Picture, heat_map

LEGIBLE = 15
"""Classes up to which the matrix is a table of numbers; beyond, it is a picture."""

AT_ONCE = 20
"""Rows of the table of classes that are shown before one has to ask for the others."""


class Cell(NamedTuple):
    """How often, with its share of the row, and whether it is on the diagonal."""

    times: int
    share: float
    right: bool


class Matrix(NamedTuple):
    """Either `rows` of cells or a `picture`."""

    names: tuple[str, ...]
    rows: list[list[Cell]] | None
    picture: Picture | None


class ClassRow(NamedTuple):
    """One class; `score` is what its bar shows: accuracy, or average precision with several labels an image."""

    name: str
    images: int
    score: float | None
    precision: float | None


class ClassTable(NamedTuple):
    """Weakest first. `rest` is folded away."""

    shown: list[ClassRow]
    rest: list[ClassRow]


def matrix(evaluation: Evaluation | None) -> Matrix | None:
    """None with several labels an image."""
    if evaluation is None or evaluation.confusion is None:
        return None
    counts = np.array(evaluation.confusion)
    if len(counts) > LEGIBLE:
        return Matrix(evaluation.classes, None, heat_map(counts))
    shares = counts / np.maximum(counts.sum(1, keepdims=True), 1)
    rows = [[Cell(int(counts[true, said]), float(shares[true, said]), true == said) for said in range(len(counts))]
            for true in range(len(counts))]
    return Matrix(evaluation.classes, rows, None)


def class_rows(evaluation: Evaluation | None) -> ClassTable | None:
    if evaluation is None:
        return None
    rows = [ClassRow(row.name, row.images, score(row), row.precision) for row in evaluation.per_class]
    rows.sort(key=lambda row: 2.0 if row.score is None else row.score)
    return ClassTable(rows[:AT_ONCE], rows[AT_ONCE:])


def score(row: ClassResult) -> float | None:
    return row.accuracy if row.average_precision is None else row.average_precision
