from __future__ import annotations

import json
import math
import multiprocessing
from pathlib import Path

import pytest

from vitrail.errors import DataError, SaveError
from vitrail.studies.ledger import Ledger, Row, only_worker


def row(key: str, top1: object = 0.5) -> Row:
    return {"key": key, "result": {"test": {"top1": top1, "images": 10}},
            "cost": {"samples": 10, "seconds": 1.5, "exaflops": 1e-9}}


def test_rows_are_found_again_by_their_key(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path / "studies")
    assert ledger.rows() == {}
    ledger.append(row("a", 0.1))
    ledger.append(row("b", 0.2))
    assert Ledger(tmp_path / "studies").rows() == {"a": row("a", 0.1), "b": row("b", 0.2)}


def test_a_line_that_a_crash_cut_short_costs_nothing_else(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path)
    ledger.append(row("a"))
    with open(ledger.path, "a", encoding="utf-8") as file:
        file.write('{"key": "b", "resu')
    assert list(ledger.rows()) == ["a"]
    ledger.append(row("c"))
    assert list(ledger.rows()) == ["a", "c"]


@pytest.mark.parametrize("line", [
    "nonsense", "[1, 2]", '{"no": "key"}', "3", '{"key": "b"}', '{"key": "b", "result": {"test": 5}}',
    json.dumps(row("b") | {"cost": None}),
    *(json.dumps(row("b", top1)) for top1 in ("much", -0.1, 1.02, math.nan, None)),
    json.dumps(row("b") | {"result": {"test": {"top1": 0.5, "images": 0}}}),
    json.dumps(row("b") | {"cost": {"samples": 1, "seconds": math.inf, "exaflops": 1}}),
    json.dumps(row("b") | {"result": {"test": {"top1": 0.5, "images": 9}, "val": [3]}})])
def test_a_line_that_is_no_row_is_named(tmp_path: Path, line: str) -> None:
    ledger = Ledger(tmp_path)
    ledger.append(row("a"))
    with open(ledger.path, "a", encoding="utf-8") as file:
        file.write(line + "\n")
    ledger.append(row("c"))
    with pytest.raises(DataError, match="line 2 is no row"):
        ledger.rows()


def test_bytes_that_are_no_text_and_a_folder_in_its_place(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path)
    ledger.append(row("a"))
    with open(ledger.path, "ab") as file:
        file.write(b'\xff\xfe{"key": 3}\n')
    with pytest.raises(DataError, match="line 2 is no row"):
        ledger.rows()
    (tmp_path / "other" / "ledger.jsonl").mkdir(parents=True)
    with pytest.raises(DataError, match="cannot be read as a ledger: Is a directory"):
        Ledger(tmp_path / "other").rows()


def test_the_first_of_two_lines_of_a_cell_counts(tmp_path: Path) -> None:
    """As where ledgers of two machines were put together: what was said stays said."""
    ledger = Ledger(tmp_path)
    for top1 in (0.5, 0.6):
        ledger.append(row("a", top1))
    assert ledger.rows() == {"a": row("a", 0.5)}


def test_a_ledger_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(SaveError, match="Cannot write"):
        Ledger(tmp_path / "file").append(row("a"))


def test_a_cell_has_one_worker_at_a_time(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path)
    with only_worker(ledger, "a") as ours, only_worker(Ledger(tmp_path), "a") as theirs, only_worker(
            ledger, "b") as other:
        assert (ours, theirs, other) == (True, False, True)
    with only_worker(ledger, "a") as again:
        assert again
    ledger.append(row("a"))
    with only_worker(ledger, "a") as done:
        assert not done


def hold(folder: Path, ready: multiprocessing.synchronize.Event) -> None:
    with only_worker(Ledger(folder), "a"):
        ready.set()
        multiprocessing.Event().wait(60)


def test_a_cell_is_free_again_when_its_worker_is_killed(tmp_path: Path) -> None:
    context = multiprocessing.get_context("fork")
    ready = context.Event()
    worker = context.Process(target=hold, args=(tmp_path, ready))
    worker.start()
    assert ready.wait(20)
    with only_worker(Ledger(tmp_path), "a") as ours:
        assert not ours
    worker.kill()
    worker.join()
    with only_worker(Ledger(tmp_path), "a") as ours:
        assert ours


def append_many(folder: Path, name: str) -> None:
    for number in range(50):
        Ledger(folder).append(row(f"{name}{number}") | {"filling": "x" * 2000})


def test_two_workers_write_whole_lines(tmp_path: Path) -> None:
    context = multiprocessing.get_context("fork")
    workers = [context.Process(target=append_many, args=(tmp_path, name)) for name in "ab"]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert len(Ledger(tmp_path).rows()) == 100
