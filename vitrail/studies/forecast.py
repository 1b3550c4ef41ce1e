"""How long the runs of a study take, by those that are finished: images a second of the same model, whatever their
number; of a model that was never trained, as much compute a second as the others did."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import median

from vitrail.events import Understood
from vitrail.run import run
from vitrail.studies.cell import Cell
from vitrail.studies.ledger import Row

START = 1.5
"""Seconds from one run to the next: to open the images, to time a few steps, to write the end."""

SHORTEST = 0.05
"""Seconds that a cell took at least: its clock has one digit."""


def seconds_left(cells: Sequence[Cell], rows: Mapping[str, Row], *, timing: bool = False) -> float | None:
    """Of one worker for the cells that no row has; None where nothing is finished that would tell. `timing`: models
    that were never trained are measured on a few steps."""
    rest = [cell for cell in cells if cell.key not in rows]
    if timing:
        known = rates(rest, rows)
        return sum(START + cell.samples / known[cell.model] for cell in rest)
    each = [seconds_of(cell, rows) for cell in rest]
    return None if None in each else sum(one for one in each if one is not None)


def rates(cells: Sequence[Cell], rows: Mapping[str, Row]) -> dict[str, float]:
    """Images a second of each model, by its finished runs, or measured once on a few steps."""
    found: dict[str, float] = {}
    for cell in cells:
        if cell.model not in found:
            found[cell.model] = rate_of(cell, rows) or timed(cell)
    return found


def seconds_of(cell: Cell, rows: Mapping[str, Row]) -> float | None:
    rate = rate_of(cell, rows) or guessed(cell, rows)
    return None if rate is None else START + cell.samples / rate


def rate_of(cell: Cell, rows: Mapping[str, Row]) -> float | None:
    """Images a second of finished cells with the same model on images of the same size, all together."""
    same = [row for row in rows.values() if row.get("model") == cell.model]
    spent = sum(max(row["cost"]["seconds"], SHORTEST) for row in same)
    return sum(row["cost"]["samples"] for row in same) / spent if same else None


def guessed(cell: Cell, rows: Mapping[str, Row]) -> float | None:
    """The same by compute a second, of runs that were not too short to tell."""
    paces = [row["cost"]["exaflops"] / max(row["cost"]["seconds"], SHORTEST) for row in rows.values() if "cost" in row]
    return median(paces) / (cell.exaflops / cell.samples) if paces and cell.exaflops else None


def timed(cell: Cell) -> float:
    """Images a second, as a run of it foretells, which writes nothing. Infinite where a signal came first."""
    with tempfile.TemporaryDirectory() as folder:
        told = next(iter(run(cell.recipe, Path(folder) / "timed", dry_run=True)))
    assert isinstance(told, Understood)
    return told.images_per_second or float("inf")
