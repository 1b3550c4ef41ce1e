"""Train what a study lacks: the cells of a question that no line of the ledger holds, alone or beside other workers.

With a budget of time the cells that are worth most come first, and one that would not fit is left for later. What a
cell takes is told by those that are finished: images a second of the same model, whatever their number.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass

from vitrail.events import Event, Finished
from vitrail.studies.cell import Cell, train_cell
from vitrail.studies.ledger import Ledger, Row
from vitrail.studies.question import Question, finished
from vitrail.training.guard import Interrupts
from vitrail.workshop import Watch

SHORTEST = 0.05
"""Seconds that a cell took at least: its clock has one digit."""

WAIT = 1.0
"""Seconds between two looks at cells that other workers have."""


@dataclass(frozen=True)
class Begun:
    """A cell is about to be trained, as number `number` of `total`."""

    cell: Cell
    number: int
    total: int


def work(question: Question, ledger: Ledger, interrupts: Interrupts, *, seconds: float | None = None,
         watch: Watch | None = None) -> Iterator[Event | Begun]:
    """Until every cell is in the ledger, the time is up, or a signal comes. Cells that other workers train are waited
    for, unless there is a budget; where such a worker dies, its cell is taken over."""
    began = time.monotonic()
    while not interrupts:
        rows = ledger.rows()
        cells = question.cells(rows)
        done = len(finished(cells, rows))
        trained = False
        for cell in (cell for cell in cells if cell.key not in rows):
            if interrupts or not fits(cell, rows, began, seconds):
                continue
            started = False
            for event in train_cell(cell, ledger, interrupts, watch):
                if not started:
                    yield Begun(cell, done + 1, question.total)
                    started = True
                if not isinstance(event, Finished):
                    yield event
            if started or cell.key in ledger.rows():
                trained = True
                break
        if done == len(cells) or (seconds is not None and not trained):
            return
        if not trained and not interrupts:
            time.sleep(WAIT)


def fits(cell: Cell, rows: dict[str, Row], began: float, seconds: float | None) -> bool:
    """Whether a cell would end in time; where nothing is known of its model, it is tried."""
    if seconds is None:
        return True
    left = seconds - (time.monotonic() - began)
    rate = rate_of(cell, rows)
    return left > 0 and (rate is None or cell.samples / rate <= left)


def rate_of(cell: Cell, rows: dict[str, Row]) -> float | None:
    """Images a second of finished cells with the same model on images of the same size, all together."""
    same = [row for row in rows.values() if row.get("model") == cell.model]
    spent = sum(max(row["cost"]["seconds"], SHORTEST) for row in same)
    return sum(row["cost"]["samples"] for row in same) / spent if same else None
