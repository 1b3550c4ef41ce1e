from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from vitrail.data.source import open_source
from vitrail.errors import DataError
from vitrail.inspection.drawing import drawn
from vitrail.studies.compute import Compute
from vitrail.studies.compute.plan import plan
from vitrail.studies.ledger import Row
from vitrail.studies.numerals import times, unit_for
from vitrail.studies.question import Table

SPEED = {"vit": 1.0, "bit": 3.0, "hybrid": 1.0}


@pytest.fixture(scope="module")
def question() -> Compute:
    return Compute(plan(open_source("fashion:embedded")))


def ledger(question: Compute, count: int | None = None) -> dict[str, Row]:
    """As if the cells had been trained, and their errors followed a law."""
    rows: dict[str, Any] = {}
    for setting, cells in question.plan.settings.items():
        for cell in cells:
            error = 0.02 + 0.3 * (setting.exaflops / 1e-6 / SPEED[setting.family]) ** -0.3
            rows[cell.key] = {
                "labels": {"as": "another study calls it"},
                "result": {"test": {"top1": 1 - error * (1 + 0.01 * cell.recipe.seed), "images": 10_000}},
                "cost": {"exaflops": setting.exaflops, "samples": setting.samples, "seconds": 12.3}}
    kept = [cell.key for cell in question.plan.cells][:count]
    return {key: rows[key] for key in kept}


def by_heading(tables: tuple[Table, ...], heading: str) -> Table:
    return next(table for table in tables if table.heading == heading)


def test_findings_have_sentences_two_figures_tables_and_numbers(question: Compute) -> None:
    found = question.answer(ledger(question))
    assert found.sentences[0].startswith("For the same accuracy ResNets need ")
    assert found.sentences[-1] == ("By the same method, the paper's own numbers (Table 6) say: For the same accuracy "
                                   "ResNets need 3.4 times the compute of ViTs (90 % interval 2.4 to 5.1; at 93.9 %, "
                                   "in the middle of what both reach).")
    assert [shown.drawing.name for shown in found.figures] == ["study", "paper"]
    for shown in found.figures:
        assert drawn(shown.drawing, "svg").startswith(b"<?xml")
    measured = by_heading(found.tables, "What was measured")
    assert measured.columns[4] == "gigaFLOPs"
    assert len(measured.rows) == 27
    assert sum("3 seeds)" in row[6] for row in measured.rows) == 6
    assert all(row[7] == "yes" for row in measured.rows)  # exact laws: nothing cheaper is better
    assert found.numbers["pairs"][0]["compute"][1]["second_to_first"]["low"] > 1
    assert found.numbers["paper"]["pairs"][0]["first"] == "vit"


def test_compared_tables_are_in_the_words_of_the_sentences(question: Compute) -> None:
    found = question.answer(ledger(question))
    row = by_heading(found.tables, "How the families compare").rows[0]
    assert row[0] == "ResNets : ViTs"
    ratio = found.numbers["pairs"][0]["compute"][1]["second_to_first"]
    assert row[2].startswith(f"{times(ratio['expected'])} ({times(ratio['low'])} to {times(ratio['high'])}) at ")
    assert times(ratio["expected"]) in found.sentences[0]


def test_what_is_not_finished_is_said(question: Compute) -> None:
    found = question.answer(ledger(question, 9))
    measured = by_heading(found.tables, "What was measured")
    assert sum(row[6] == "not yet" for row in measured.rows) == 18
    assert any("one seed so far" in words for words in found.doubts)
    only = question.answer(ledger(question, 2))
    assert "Hybrids: none is finished yet." in only.sentences or "none is finished yet" in " ".join(only.sentences)
    with pytest.raises(DataError, match="Give it more --time"):
        question.answer({})


def test_pages_of_other_sources_and_models_have_other_names(question: Compute) -> None:
    assert question.folder == "compute-fashion_embedded"
    assert Compute(plan(open_source("digits"), ["mu/4", "R26x0.5"])).folder == "compute-digits-mu_4-R26x0.5"


def test_what_is_understood_names_every_family(question: Compute) -> None:
    rows = dict(question.understood())
    assert rows["ResNets"] == "R26x0.25, R26x0.5, R26x1"
    assert rows["lengths"].startswith("1/4, 1/2, 1 of what the default recipe trains: 10.5, 21, 42 epochs")


@pytest.mark.parametrize(("exaflops", "words"), [
    (4262.0, "4.26 zettaFLOPs"), (55.0, "55 exaFLOPs"), (4.4e-4, "440 teraFLOPs"), (1.25e-6, "1.25 teraFLOPs"),
    (5e-13, "0.5 megaFLOPs"), (3e-9, "3 gigaFLOPs")])
def test_compute_is_told_in_a_readable_unit(exaflops: float, words: str) -> None:
    assert unit_for(exaflops).words(exaflops) == words
    assert unit_for(1.0).words(4262) == "4,262 exaFLOPs"


def test_how_many_times_has_two_digits() -> None:
    assert [times(value) for value in (0.421, 0.999, 3.14159, 9.96, 47.1, 1234)] == [
        "0.42", "1.0", "3.1", "10", "47", "1,200"]
    assert np.isfinite(float(times(1e6).replace(",", "")))
