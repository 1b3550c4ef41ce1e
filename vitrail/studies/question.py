"""Question: what a study asks of a source. The contract between the questions and what trains, shows and writes them.

    question.cells(rows) -> Cell, ...      what is to be trained, given what is finished
    question.answer(rows) -> Findings      sentences first, then figures and tables, and all numbers
    findings(question, rows) -> Findings   the same with what all questions have to say of their images
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Protocol

from vitrail.data.source import Source
from vitrail.errors import DivergedError
from vitrail.inspection.lens import Drawing
from vitrail.studies.asked import Options
from vitrail.studies.cell import Cell
from vitrail.studies.ledger import Row


@dataclass(frozen=True)
class Table:
    """Cells in words. `note` stands below it."""

    heading: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    note: str = ""


@dataclass(frozen=True)
class Shown:
    """A figure with what it shows and how to read it."""

    heading: str
    drawing: Drawing
    caption: str


@dataclass(frozen=True)
class Findings:
    """`sentences`, the most important first, each with its interval; `doubts`: what speaks against believing them;
    `numbers`: all of it, for programs; `options`: what it was asked with."""

    title: str
    sentences: tuple[str, ...]
    doubts: tuple[str, ...]
    figures: tuple[Shown, ...]
    tables: tuple[Table, ...]
    numbers: Mapping[str, Any]
    options: Options = field(default_factory=dict)


class Question(Protocol):
    """`folder`: a name for its page, the same for the same question, and for no other; `total`: how many cells it has
    in all."""

    @property
    def source(self) -> Source: ...

    @property
    def options(self) -> Options: ...

    @property
    def folder(self) -> str: ...

    @property
    def total(self) -> int: ...

    def understood(self) -> list[tuple[str, str]]:
        """What will be asked, as rows of a box: a word and what it stands for."""
        ...

    def cells(self, rows: Mapping[str, Row]) -> Sequence[Cell]:
        """What the answer rests on, worth most first, as far as the finished `rows` decide it: cells that depend on
        what others found come when those are finished. The same for the same rows, so that workers agree."""
        ...

    def answer(self, rows: Mapping[str, Row]) -> Findings:
        """What the finished rows say. Raises DataError where they say nothing yet."""
        ...


class Plan(Protocol):
    """What every plan knows."""

    @property
    def source(self) -> Source: ...

    @property
    def options(self) -> Options: ...


class OfPlan:
    """What a question has from its plan."""

    plan: Plan

    @property
    def source(self) -> Source:
        return self.plan.source

    @property
    def options(self) -> Options:
        return self.plan.options


def findings(question: Question, rows: Mapping[str, Row]) -> Findings:
    """The answer, with what speaks against believing it in the images themselves. Raises DataError where nothing is
    finished."""
    found = question.answer(rows)
    cells = question.cells(rows)
    doubts = source_doubts(question.source, cells, finished(cells, rows))
    return replace(found, doubts=(*found.doubts, *doubts), options=question.options)


def held_out(source: Source) -> str:
    """What accuracy is measured on, in words."""
    return "test images" if "test" in source.splits else "validation images"


def source_doubts(source: Source, cells: Sequence[Cell], rows: Sequence[Row]) -> list[str]:
    said = list(source.warnings)
    if any(row["result"].get("test", {}).get("split") == "val" for row in rows):
        best = any(cell.recipe.evaluation.keep == "best" for cell in cells)
        chosen = ", by which the best checkpoint of each run was chosen, too: that flatters all of them" * best
        said.append(f"{source.spec} has no test images, so what is measured are the validation images{chosen}. Give it "
                    "a test split.")
    unread = max((row["result"].get("test", {}).get("unreadable", 0) for row in rows), default=0)
    if unread:
        said.append(f"{unread:,} of the {held_out(source)} could not be read and count as wrong for all models.")
    if any(row.get("replaced") for row in rows):  # how many depends on where a run was stopped
        said.append("Some training images could not be read; others took their places.")
    return said


def finished(cells: Sequence[Cell], rows: Mapping[str, Row]) -> list[Row]:
    """Rows of those cells that are finished, in their order, with the labels that this study gives them: another one
    may have trained them. Raises DivergedError for one that diverged and must not, as training it would."""
    found = []
    for cell in cells:
        if cell.key not in rows:
            continue
        row = rows[cell.key]
        if "diverged" in row.get("result", {}) and not cell.may_diverge:
            raise DivergedError(f"{cell.words}: {row['result']['diverged']}")
        found.append(dict(row) | {"labels": cell.labels})
    return found


def missing(question: Question, rows: Mapping[str, Row]) -> list[Cell]:
    """What is not finished of the cells that the finished ones decide."""
    return [cell for cell in question.cells(rows) if cell.key not in rows]


def left(question: Question, rows: Mapping[str, Row]) -> int:
    """How many cells are not finished."""
    return question.total - len(finished(question.cells(rows), rows))
