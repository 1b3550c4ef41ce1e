from __future__ import annotations

import multiprocessing
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from tiny import tiny_recipe

from vitrail.events import Stepped
from vitrail.studies.cell import Cell
from vitrail.studies.ledger import Ledger, Row
from vitrail.studies.question import Findings, left
from vitrail.studies.work import Begun, work
from vitrail.training.guard import Interrupts


@dataclass(frozen=True)
class Asked:
    """A question of tiny cells; the last `later` of them depend on the others."""

    count: int
    later: int = 0
    images: int = 64
    folder: str = "asked"

    @property
    def total(self) -> int:
        return self.count

    def understood(self) -> list[tuple[str, str]]:
        return []

    def cells(self, rows: Mapping[str, Row]) -> list[Cell]:
        recipes = [tiny_recipe(schedule__steps=3, data__fraction=0.2, seed=seed) for seed in range(self.count)]
        found = [Cell(recipe, "digits", self.images, {"seed": recipe.seed}) for recipe in recipes]
        first = found[: self.count - self.later]
        return found if all(cell.key in rows for cell in first) else first

    def answer(self, rows: Mapping[str, Row]) -> Findings:
        raise NotImplementedError


def begun(events: Iterable[Any]) -> list[int]:
    return [event.cell.recipe.seed for event in events if isinstance(event, Begun)]


def test_what_is_missing_is_trained_in_order_and_never_twice(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path)
    assert begun(work(Asked(2), ledger, Interrupts())) == [0, 1]
    assert begun(work(Asked(3), ledger, Interrupts())) == [2]
    assert begun(work(Asked(3), ledger, Interrupts())) == []
    assert len(ledger.rows()) == 3


def test_what_depends_on_others_comes_when_they_are_finished(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path)
    events = [event for event in work(Asked(3, later=1), ledger, Interrupts()) if isinstance(event, Begun)]
    assert [(one.cell.recipe.seed, one.number, one.total) for one in events] == [(0, 1, 3), (1, 2, 3), (2, 3, 3)]


def test_a_signal_leaves_the_rest(tmp_path: Path) -> None:
    ledger, interrupts, events = Ledger(tmp_path), Interrupts(), []
    for event in work(Asked(3), ledger, interrupts):
        events.append(event)
        if isinstance(event, Stepped) and len(ledger.rows()) == 1:
            interrupts.signal = 2
    assert begun(events) == [0, 1]
    assert left(Asked(3), ledger.rows()) == 2
    assert begun(work(Asked(3), ledger, Interrupts())) == [1, 2]


def test_a_budget_leaves_what_does_not_fit_and_takes_what_does(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ledger = Ledger(tmp_path)
    list(work(Asked(1), ledger, Interrupts()))
    monkeypatch.setattr(Cell, "samples", property(lambda self: 10**9 if self.recipe.seed == 1 else 1))
    assert begun(work(Asked(3), ledger, Interrupts(), seconds=60)) == [2]
    assert left(Asked(3), ledger.rows()) == 1


def worker(folder: Path) -> None:
    list(work(Asked(4), Ledger(folder), Interrupts()))


def test_two_workers_share_a_ledger_and_train_no_cell_twice(tmp_path: Path) -> None:
    context = multiprocessing.get_context("spawn")
    workers = [context.Process(target=worker, args=(tmp_path,)) for _ in range(2)]
    for one in workers:
        one.start()
    for one in workers:
        one.join(120)
        assert one.exitcode == 0
    assert len(Ledger(tmp_path).path.read_text().splitlines()) == 4
    alone = Ledger(tmp_path / "alone")
    list(work(Asked(4), alone, Interrupts()))
    assert {key: row["result"] for key, row in alone.rows().items()} == {
        key: row["result"] for key, row in Ledger(tmp_path).rows().items()}
