from __future__ import annotations

import multiprocessing
from pathlib import Path
from typing import Any

from tiny import tiny_recipe

from vitrail.events import Stepped
from vitrail.studies.cell import Cell
from vitrail.studies.ledger import Ledger
from vitrail.studies.work import Begun, Ended, work
from vitrail.training.guard import Interrupts


def cells(count: int = 3) -> list[Cell]:
    recipes = [tiny_recipe(schedule__steps=3, data__fraction=0.2, seed=seed) for seed in range(count)]
    return [Cell(recipe, "digits", {"seed": recipe.seed}) for recipe in recipes]


def samples(cell: Cell) -> int:
    return 3 * 64


def done(events: list[Any]) -> tuple[list[int], Ended]:
    return [event.cell.recipe.seed for event in events if isinstance(event, Begun)], events[-1]


def test_what_is_missing_is_trained_in_order_and_never_twice(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path)
    assert done(list(work(cells(2), samples, ledger, Interrupts()))) == ([0, 1], Ended(()))
    assert done(list(work(cells(3), samples, ledger, Interrupts()))) == ([2], Ended(()))
    assert done(list(work(cells(3), samples, ledger, Interrupts()))) == ([], Ended(()))
    assert len(ledger.rows()) == 3


def test_a_signal_leaves_the_rest(tmp_path: Path) -> None:
    ledger, interrupts, begun = Ledger(tmp_path), Interrupts(), []
    for event in work(cells(3), samples, ledger, interrupts):
        begun.append(event)
        if isinstance(event, Stepped) and len(ledger.rows()) == 1:
            interrupts.signal = 2
    _, ended = done(begun)
    assert [cell.recipe.seed for cell in ended.left] == [1, 2]
    assert done(list(work(cells(3), samples, ledger, Interrupts()))) == ([1, 2], Ended(()))


def test_a_budget_leaves_what_does_not_fit_and_takes_what_does(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path)
    list(work(cells(1), samples, ledger, Interrupts()))

    def much(cell: Cell) -> int:
        return 10**9 if cell.recipe.seed == 1 else 1

    began, ended = done(list(work(cells(3), much, ledger, Interrupts(), seconds=60)))
    assert began == [2]
    assert [cell.recipe.seed for cell in ended.left] == [1]


def worker(folder: Path) -> None:
    list(work(cells(4), samples, Ledger(folder), Interrupts()))


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
    list(work(cells(4), samples, alone, Interrupts()))
    assert {key: row["result"] for key, row in alone.rows().items()} == {
        key: row["result"] for key, row in Ledger(tmp_path).rows().items()}
