from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from tiny import tiny_recipe

from vitrail.errors import BundleError, DivergedError, RunError
from vitrail.events import Stepped
from vitrail.studies.cell import Cell, train_cell
from vitrail.studies.ledger import Ledger, only_worker
from vitrail.studies.precision import PRECISION, decided, settled
from vitrail.studies.question import finished
from vitrail.training.backend import Backend
from vitrail.training.guard import Interrupts


def cell(**changes: Any) -> Cell:
    recipe = tiny_recipe(schedule__steps=6, data__fraction=0.2, **changes)
    return Cell(recipe, recipe.data.open().fingerprint, 200, {"images": 0.2})


def test_a_cell_is_trained_once_and_its_line_says_what_came_out(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path)
    one = cell()
    assert list(train_cell(one, ledger, Interrupts()))
    row = ledger.rows()[one.key]
    assert row["cost"]["samples"] == 6 * 64
    assert row["cost"]["exaflops"] == pytest.approx(6 * row["macs"] * 384 / 1e18)
    assert row["labels"] == {"images": 0.2}
    assert row["precision"] == "fp32"
    assert 0 <= row["result"]["test"]["top1"] <= 1
    assert row["result"]["test"]["images"] > 300
    assert list(train_cell(one, ledger, Interrupts())) == []
    assert len(ledger.path.read_text().splitlines()) == 1


def test_a_cell_that_was_stopped_goes_on_and_ends_as_if_it_had_not(tmp_path: Path) -> None:
    whole, parts = Ledger(tmp_path / "whole"), Ledger(tmp_path / "parts")
    one = cell()
    list(train_cell(one, whole, Interrupts()))
    interrupts = Interrupts()
    for event in train_cell(one, parts, interrupts):
        if isinstance(event, Stepped) and event.step.step == 3:
            interrupts.signal = 2
    assert parts.rows() == {}
    list(train_cell(one, parts, Interrupts()))
    assert parts.rows()[one.key]["result"] == whole.rows()[one.key]["result"]


def test_a_damaged_run_of_a_cell_says_what_to_delete(tmp_path: Path) -> None:
    ledger, one = Ledger(tmp_path), cell()
    list(train_cell(one, ledger, Interrupts()))
    ledger.path.unlink()
    place = ledger.place(one.key)
    with open(place / "bundle" / "model.safetensors", "r+b") as file:
        file.seek(-1, 2)
        file.write(b"!")
    with pytest.raises(BundleError, match=r"Delete .*, which is a run of this study, and it is trained again"):
        list(train_cell(one, ledger, Interrupts()))
    shutil.rmtree(place)
    place.write_text("")
    with pytest.raises(RunError, match=r"where a run of this study belongs. Take it away"):
        list(train_cell(one, ledger, Interrupts()))
    place.unlink()
    assert list(train_cell(one, ledger, Interrupts()))
    assert list(ledger.rows()) == [one.key]


def test_a_cell_whose_line_was_lost_is_not_trained_again(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path)
    one = cell()
    list(train_cell(one, ledger, Interrupts()))
    before = ledger.path.read_text()
    ledger.path.unlink()
    assert list(train_cell(one, ledger, Interrupts())) == []
    assert ledger.path.read_text() == before


def test_what_another_worker_has_is_left_to_it(tmp_path: Path) -> None:
    one = cell()
    with only_worker(Ledger(tmp_path), one.key):
        assert list(train_cell(one, Ledger(tmp_path), Interrupts())) == []


def test_the_key_is_of_what_decides_the_result() -> None:
    one = cell()
    same = Cell(one.recipe.replaced({"training.log_every": 7, "data.workers": 1}), one.data, one.images,
                {"called": "otherwise"})
    assert same.key == one.key
    others = [cell(seed=1), cell(data__fraction_seed=1), cell(optimizer__learning_rate=1e-3),
              Cell(one.recipe.replaced({"schedule.steps": 7}), one.data, 200),
              Cell(one.recipe, "other images", 200)]
    assert len({one.key, *(other.key for other in others)}) == 6


def test_the_cost_is_that_of_the_whole_run_where_its_best_checkpoint_is_kept(tmp_path: Path) -> None:
    ledger, one = Ledger(tmp_path), cell(evaluation__keep="best", evaluation__every_epochs=0.5,
                                         optimizer__learning_rate=3.0)
    list(train_cell(one, ledger, Interrupts()))
    cost = ledger.rows()[one.key]["cost"]
    assert (cost["steps"], cost["samples"]) == (6, 6 * 64)


def test_a_loss_that_is_not_finite_is_a_result_only_where_a_study_tries_rates(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path)
    tried = replace(cell(optimizer__name="sgd", optimizer__learning_rate=1e30, optimizer__weight_decay=0.0),
                    may_diverge=True)
    strict = replace(tried, may_diverge=False)
    with pytest.raises(DivergedError, match="not finite"):
        list(train_cell(strict, ledger, Interrupts()))
    assert ledger.rows() == {}
    list(train_cell(tried, ledger, Interrupts()))
    row = ledger.rows()[tried.key]
    assert "not finite" in row["result"]["diverged"]
    assert finished([tried], ledger.rows())[0]["key"] == tried.key
    with pytest.raises(DivergedError, match="not finite"):
        finished([strict], ledger.rows())


def test_precision_is_measured_once_for_all_runs_of_a_model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    measured: list[str] = []

    def faster(*_: Any) -> Backend:
        measured.append("bf16" if not measured else "fp32")  # the second time the machine was busy
        return Backend(measured[-1], "fused", "")  # type: ignore[arg-type]

    monkeypatch.setattr("vitrail.studies.precision.backend_for", faster)
    recipes = [cell(seed=seed, training__precision="auto").recipe for seed in range(2)]
    for recipe in recipes:
        assert settled(recipe, "Ti/4", Ledger(tmp_path)).training.precision == "bf16"
    assert measured == ["bf16"]
    assert settled(recipes[0], "S/4", Ledger(tmp_path)).training.precision == "fp32"
    assert decided(Ledger(tmp_path)) == {"Ti/4": "bf16", "S/4": "fp32"}


def test_of_two_workers_that_measure_at_once_the_first_line_counts(
        tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def meanwhile(*_: Any) -> Backend:
        (tmp_path / PRECISION).write_text('{"model": "Ti/4", "precision": "fp32"}\n')
        return Backend("bf16", "fused", "")

    monkeypatch.setattr("vitrail.studies.precision.backend_for", meanwhile)
    recipe = cell(training__precision="auto").recipe
    assert settled(recipe, "Ti/4", Ledger(tmp_path)).training.precision == "fp32"


def test_precision_that_is_asked_for_is_not_measured(tmp_path: Path) -> None:
    recipe = cell(training__precision="bf16").recipe
    assert settled(recipe, "Ti/4", Ledger(tmp_path)) == recipe
    assert not (tmp_path / PRECISION).exists()


def test_precision_is_that_of_finished_runs_where_its_line_is_lost(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path)
    ledger.append({"key": "a", "model": "Ti/4", "precision": "bf16", "result": {"diverged": "in the end"}})
    (tmp_path / PRECISION).write_text('{"model": "Ti')
    assert settled(cell(training__precision="auto").recipe, "Ti/4", ledger).training.precision == "bf16"


def test_a_run_that_was_begun_goes_on_in_its_precision(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path)
    one = cell(training__precision="auto")
    (tmp_path / PRECISION).write_text(f'{{"model": "{one.model}", "precision": "bf16"}}\n')
    interrupts = Interrupts()
    for event in train_cell(one, ledger, interrupts):
        if isinstance(event, Stepped) and event.step.step == 3:
            interrupts.signal = 2
    (tmp_path / PRECISION).write_text(f'{{"model": "{one.model}", "precision": "fp32"}}\n')
    list(train_cell(one, ledger, Interrupts()))
    assert ledger.rows()[one.key]["precision"] == "bf16"
    assert ledger.rows()[one.key]["recipe"] == one.recipe.identity()
