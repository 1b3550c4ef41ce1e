"""A study that fits into a time: all its runs are made shorter, alike, until every size can be looked at once.

    within(plan, seconds, ledger, rate) -> Plan

One that was begun keeps its length, since runs of another length are other cells: the same command goes on.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

from vitrail.events import Understood
from vitrail.run import run
from vitrail.studies.cell import Cell
from vitrail.studies.data_size.plan import LOOKS, Plan
from vitrail.studies.ledger import Ledger
from vitrail.studies.question import finished
from vitrail.studies.work import rate_of

SHARES = tuple(Fraction(1, 2**power) for power in range(7))
"""Of the length that the rule gives: 1, 1/2, ..., 1/64."""

FIRST = 0.6
"""So much of the time the first look at every size may take; further seeds come after it."""

FORWARD = 3
"""An image that is only looked at costs a third of one that is learned from."""

START = 1.5
"""Seconds from one run to the next: to open the images, to time a few steps, to write the end."""


def within(whole: Plan, seconds: float, ledger: Ledger, rate: Callable[[Cell], float] | None = None) -> Plan:
    """The longest plan that fits; the shortest where none does. `rate`: images a second that a cell trains on; without,
    that of its model in the ledger, or measured on a few steps."""
    plans, rows = [whole.shortened(share) for share in SHARES], ledger.rows()
    begun = [(len(finished(plan.cells, rows)), plan) for plan in plans]
    if any(count for count, _ in begun):
        return max(begun, key=lambda one: one[0])[1]
    measured: dict[str, float] = {}
    for cell in plans[0].first_look:
        if cell.model not in measured:
            measured[cell.model] = (rate or (lambda one: rate_of(one, rows) or timed(one)))(cell)
    for plan in plans:
        if sum(seconds_of(plan, cell, measured[cell.model]) for cell in plan.first_look) <= FIRST * seconds:
            return plan
    return plans[-1]


def seconds_of(plan: Plan, cell: Cell, rate: float) -> float:
    """Training, validations on the way, the test at the end, and what else a run takes."""
    held = {name: len(split) for name, split in plan.source.splits.items()}
    looked = LOOKS * held.get("val", 0) + held.get("test", 0)
    return START + (cell.samples + looked / FORWARD) / rate


def timed(cell: Cell) -> float:
    """As a run of it foretells, which writes nothing. Infinite where a signal came first."""
    with tempfile.TemporaryDirectory() as folder:
        told = next(iter(run(cell.recipe, Path(folder) / "timed", dry_run=True)))
    assert isinstance(told, Understood)
    return told.images_per_second or float("inf")
