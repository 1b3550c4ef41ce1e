"""A study that fits into a time: all its runs are made shorter, alike, until every size can be looked at once.

    within(plan, seconds, ledger, rate) -> Plan

One that was begun keeps its length, since runs of another length are other cells: the same command goes on.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from fractions import Fraction

from vitrail.studies.cell import Cell
from vitrail.studies.data_size.plan import LOOKS, Plan
from vitrail.studies.fit.posterior import LEAST_POINTS
from vitrail.studies.forecast import START, rates
from vitrail.studies.ledger import Ledger
from vitrail.studies.question import finished

SHARES = tuple(Fraction(1, 2**power) for power in range(7))
"""Of the length that the rule gives: 1, 1/2, ..., 1/64."""

FIRST = 0.6
"""So much of the time the first look at every size may take; further seeds come after it."""

FORWARD = 3
"""An image that is only looked at costs a third of one that is learned from."""


def within(whole: Plan, seconds: float, ledger: Ledger, rate: Callable[[Cell], float] | None = None) -> Plan:
    """The longest plan that fits; where none does, the shortest, with the sizes that do not fit at its end. `rate`:
    images a second that a cell trains on; without, that of its model in the ledger, or measured on a few steps."""
    plans, rows = [whole.shortened(share) for share in SHARES], ledger.rows()
    begun = [(len(finished(plan.cells, rows)), plan) for plan in plans]
    if any(count for count, _ in begun):
        return max(begun, key=lambda one: one[0])[1]
    cells = plans[0].first_look
    measured = {cell.model: rate(cell) for cell in cells} if rate else rates(cells, rows)
    for plan in plans:
        if first_look(plan, measured) <= FIRST * seconds:
            return plan
    return affordable_first(plans[-1], measured, seconds)


def affordable_first(plan: Plan, rates: Mapping[str, float], seconds: float) -> Plan:
    """What fits of all sizes up to one comes before the sizes beyond it, the smallest of them first, and further seeds
    come last, so that there is a curve. Where that are too few sizes for one, model by model, the fastest first."""
    most = next((size for size in reversed(plan.sizes) if first_look(plan, rates, size) <= seconds), 0)
    enough = sum(size <= most for size in plan.sizes) >= LEAST_POINTS

    def worth(cell: Cell) -> tuple[float, ...]:
        beyond = cell.images > most
        if not enough:
            return cell.recipe.seed > 0, -rates[cell.model], cell.images
        return cell.recipe.seed > 0, beyond, cell.images if beyond else -cell.images

    return replace(plan, cells=tuple(sorted(plan.cells, key=worth)))


def first_look(plan: Plan, rates: Mapping[str, float], upto: int | None = None) -> float:
    """Seconds for every size once, up to one of them."""
    return sum(seconds_of(plan, cell, rates[cell.model]) for cell in plan.first_look
               if upto is None or cell.images <= upto)


def seconds_of(plan: Plan, cell: Cell, rate: float) -> float:
    """Training, validations on the way, the test at the end, and what else a run takes."""
    held = {name: len(split) for name, split in plan.source.splits.items()}
    looked = LOOKS * held.get("val", 0) + held.get("test", 0)
    return START + (cell.samples + looked / FORWARD) / rate
