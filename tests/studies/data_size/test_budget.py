"""How long the runs of a study are where it has to fit into a time."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import pytest

from vitrail.data.source import open_source
from vitrail.studies.data_size.budget import FIRST, seconds_of, within
from vitrail.studies.data_size.plan import LOOKS, Plan, plan
from vitrail.studies.ledger import Ledger

SOURCE = open_source("digits")


def planned(share: Fraction) -> Plan:
    return plan(SOURCE, [None, "half"], share=share)


def first_look(found: Plan, rate: float) -> float:
    return sum(seconds_of(found, cell, rate) for cell in found.first_look)


@pytest.mark.parametrize("share", [Fraction(1), Fraction(1, 4), Fraction(1, 16)])
def test_the_longest_runs_that_let_every_size_be_looked_at_once(share: Fraction, tmp_path: Path) -> None:
    seconds = first_look(planned(share), 1000.0) / FIRST
    assert within(planned, 1.001 * seconds, Ledger(tmp_path), lambda cell: 1000.0).share == share
    assert within(planned, 0.999 * seconds, Ledger(tmp_path), lambda cell: 1000.0).share == share / 2


def test_too_little_time_for_any_takes_the_shortest_and_says_so(tmp_path: Path) -> None:
    found = within(planned, 1.0, Ledger(tmp_path), lambda cell: 10.0)
    assert found.share == Fraction(1, 64)
    assert "1/64 of that, to fit into the time" in found.length


def test_a_study_that_was_begun_keeps_its_length(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path)
    ledger.append({"key": planned(Fraction(1, 8)).cells[0].key})
    assert within(planned, 1e9, ledger, lambda cell: 1000.0).share == Fraction(1, 8)


def test_all_lengths_are_shared_alike_and_looks_are_few() -> None:
    whole, eighth = planned(Fraction(1)), planned(Fraction(1, 8))
    for long, short in zip(whole.cells, eighth.cells, strict=True):
        assert short.samples == pytest.approx(long.samples / 8, rel=0.1, abs=64)
    for cell in whole.cells:
        assert cell.samples / cell.images / cell.recipe.evaluation.every_epochs <= LOOKS + 1


def test_the_rate_is_measured_where_nothing_is_known(tmp_path: Path) -> None:
    mu = plan(SOURCE, ["mu/4"], changes={"schedule.steps": 3})
    assert within(lambda share: mu, 1e9, Ledger(tmp_path)) is mu
