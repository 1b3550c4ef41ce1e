"""Ledgers with known answers: what each cell of a plan would come to, without training any."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

from vitrail.data.source import Source, open_source
from vitrail.studies.ablations import ABLATIONS
from vitrail.studies.ablations.plan import Plan, plan
from vitrail.studies.cell import Cell

Outcome = Callable[[str, float, int], tuple[float, float]]
"""outcome(variant, learning rate, seed) -> validation and test accuracy, from 0 to 1"""


@cache
def source(spec: str) -> Source:
    return open_source(spec)


def planned(name: str, spec: str = "digits", **options: Any) -> Plan:
    return plan(ABLATIONS[name], source(spec), **options)


def row(cell: Cell, val: float, test: float, **result: Any) -> dict[str, Any]:
    return {"key": cell.key, "labels": cell.labels,
            "result": {"test": {"top1": test, "images": 359}, "val": [[64, val / 2], [128, val], [192, 0.0]]} | result}


def filled(asked: Plan, outcome: Outcome, most: int | None = None) -> dict[str, dict[str, Any]]:
    """All rows of a plan, or the first `most`, stage by stage as they would be trained."""
    rows: dict[str, dict[str, Any]] = {}
    while missing := [cell for cell in asked.cells(rows) if cell.key not in rows]:
        for cell in missing[:1]:
            if most is not None and len(rows) == most:
                return rows
            value = outcome(cell.labels["variant"], cell.labels["rate"], cell.labels["seed"])
            rows[cell.key] = row(cell, *value)
    return rows
