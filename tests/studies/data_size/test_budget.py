"""How long the runs of a study are where it has to fit into a time."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import pytest

from vitrail.data.source import open_source
from vitrail.studies import forecast
from vitrail.studies.data_size.budget import FIRST, seconds_of, within
from vitrail.studies.data_size.plan import LOOKS, Plan, plan
from vitrail.studies.ledger import Ledger

SOURCE = open_source("digits")
WHOLE = plan(SOURCE, [None, "half"])
DONE = {"result": {"test": {"top1": 0.5, "images": 10}}, "cost": {"samples": 4_000, "seconds": 4.0, "exaflops": 1e-9}}


def first_look(found: Plan, rate: float) -> float:
    return sum(seconds_of(found, cell, rate) for cell in found.first_look)


@pytest.mark.parametrize("share", [Fraction(1), Fraction(1, 4), Fraction(1, 16)])
def test_the_longest_runs_that_let_every_size_be_looked_at_once(share: Fraction, tmp_path: Path) -> None:
    seconds = first_look(WHOLE.shortened(share), 1000.0) / FIRST
    assert within(WHOLE, 1.001 * seconds, Ledger(tmp_path), lambda cell: 1000.0).share == share
    assert within(WHOLE, 0.999 * seconds, Ledger(tmp_path), lambda cell: 1000.0).share == share / 2


def test_too_little_time_for_any_takes_the_shortest_and_says_so(tmp_path: Path) -> None:
    found = within(WHOLE, 1.0, Ledger(tmp_path), lambda cell: 10.0)
    assert found.share == Fraction(1, 64)
    assert "1/64 of that" in found.length


def test_too_little_time_for_all_sizes_is_given_to_those_that_make_a_curve(tmp_path: Path) -> None:
    """Of the shortest runs all but the two largest sizes fit, and the large ones do not take their time away."""
    shortest = WHOLE.shortened(Fraction(1, 64))
    seconds = 1.01 * sum(seconds_of(shortest, cell, 10.0) for cell in shortest.first_look
                         if cell.images <= shortest.sizes[-3])
    found = within(WHOLE, seconds, Ledger(tmp_path), lambda cell: 10.0)
    sizes = [cell.images for cell in found.cells[:len(found.first_look)]]
    affordable = len([size for size in sizes if size <= shortest.sizes[-3]])
    assert sizes == sorted(sizes[:affordable], reverse=True) + sorted(sizes[affordable:])
    assert set(sizes[:affordable]) == set(shortest.sizes[:-2])
    assert {cell.recipe.seed for cell in found.cells[:len(found.first_look)]} == {0}
    assert sorted(cell.key for cell in found.cells) == sorted(cell.key for cell in shortest.cells)


def test_too_little_time_for_a_curve_of_all_models_is_given_to_the_fastest(tmp_path: Path) -> None:
    fast = min(cell.model for cell in WHOLE.cells)
    found = within(WHOLE, 5.0, Ledger(tmp_path), lambda cell: 100.0 if cell.model == fast else 1.0)
    count = len(WHOLE.sizes)
    assert {cell.model for cell in found.cells[:count]} == {fast}
    assert [cell.images for cell in found.cells[:count]] == list(WHOLE.sizes)


def test_a_study_that_was_begun_keeps_its_length(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path)
    ledger.append({"key": WHOLE.shortened(Fraction(1, 8)).cells[0].key, **DONE})
    assert within(WHOLE, 1e9, ledger, lambda cell: 1000.0).share == Fraction(1, 8)


def test_all_lengths_are_shared_alike_and_looks_are_few() -> None:
    whole, eighth = WHOLE, WHOLE.shortened(Fraction(1, 8))
    for long, short in zip(whole.cells, eighth.cells, strict=True):
        assert short.samples == pytest.approx(long.samples / 8, rel=0.1, abs=64)
    for cell in whole.cells:
        assert cell.samples / cell.images / cell.recipe.evaluation.every_epochs <= LOOKS + 1


def test_the_rate_is_measured_where_nothing_is_known(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Once for each model, and not where the ledger knows it."""
    asked: list[str] = []
    monkeypatch.setattr(forecast, "timed", lambda cell: asked.append(cell.model) or 1000.0)
    seconds, ledger = 1.001 * first_look(WHOLE.shortened(Fraction(1, 2)), 1000.0) / FIRST, Ledger(tmp_path)
    assert within(WHOLE, seconds, ledger).share == Fraction(1, 2)
    assert len(asked) == len(set(asked)) == 2
    ledger.append({"key": "of another study", "model": asked[0], **DONE})
    assert within(WHOLE, seconds, ledger).share == Fraction(1, 2)
    assert asked[2:] == asked[1:2]


def test_a_few_steps_tell_a_rate() -> None:
    cell = plan(SOURCE, ["mu/4"], changes={"schedule.steps": 3}).cells[0]
    assert 1 < forecast.timed(cell) < 1e6
