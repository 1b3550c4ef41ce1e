"""Train what a study lacks: the cells of a question that no line of the ledger holds, alone or beside other workers.

With a budget of time the cells that are worth most come first, and one that would not fit is left for later.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass

from vitrail.events import Event, Finished
from vitrail.studies.cell import Cell, train_cell
from vitrail.studies.forecast import seconds_left, seconds_of
from vitrail.studies.ledger import Ledger, Row
from vitrail.studies.question import Question, finished
from vitrail.training.guard import Interrupts
from vitrail.workshop import Watch

WAIT = 1.0
"""Seconds between two looks at cells that other workers have."""


@dataclass(frozen=True)
class Begun:
    """A cell is about to be trained, as number `number` of `total`. `left`: seconds that it and those after it take
    one worker, as far as they are known; None where nothing is finished that would tell."""

    cell: Cell
    number: int
    total: int
    left: float | None = None


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
            remaining = None if seconds is None else seconds - (time.monotonic() - began)
            if interrupts or not fits(cell, rows, remaining):
                continue
            started = False
            for event in train_cell(cell, ledger, interrupts, watch):
                if not started:
                    yield Begun(cell, done + 1, question.total, least(seconds_left(cells, rows), remaining))
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


def least(*seconds: float | None) -> float | None:
    """Of those that are known."""
    return min((one for one in seconds if one is not None), default=None)


def fits(cell: Cell, rows: dict[str, Row], left: float | None) -> bool:
    """Whether a cell would end in time; where nothing is finished that would tell, it is tried."""
    if left is None:
        return True
    needed = seconds_of(cell, rows)
    return left > 0 and (needed is None or needed <= left)
