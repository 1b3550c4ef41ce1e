"""The arithmetic and the page of benchmarks/learning_without_labels.py, and its cells at a tiny size."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from vitrail.data.source import Source, open_source


@pytest.fixture(autouse=True)
def benchmarks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(Path(__file__).parents[1] / "benchmarks"))


@pytest.fixture(scope="module")
def garments() -> Source:
    return open_source("fashion:embedded", validation=0.0)


def test_every_objective_gets_the_same_compute_and_scratch_that_of_both(garments: Source) -> None:
    import without_labels_recipes as station

    reference = station.pretraining("masked-color", 0, garments, 1)
    budget = 6 * station.macs_of(reference, garments) * 20_000
    samples = {}
    for name in station.OBJECTIVES:
        recipe = station.pretraining(name, 0, garments, 1)
        step = 6 * station.macs_of(recipe, garments) * recipe.training.batch_size
        steps = station.steps_for(recipe, garments, budget)
        assert abs(steps * step - budget) <= step / 2
        samples[name] = steps * recipe.training.batch_size
    assert samples["mae"] > 1.5 * samples["masked-color"]
    part = station.labeled_part(garments, 100, 0)
    scratch = station.from_scratch(part, garments, 0, budget)
    assert scratch.model == reference.model
    seen = (scratch.schedule.steps or 0) * scratch.training.batch_size
    assert seen == pytest.approx(20_000 + station.looks_of(part), rel=0.03)  # the objective has a head of its own


def test_labels_are_as_many_of_each_class_and_more_contain_fewer(garments: Source) -> None:
    import without_labels_recipes as station

    few, many, other = (station.labeled_part(garments, *asked) for asked in ((100, 0), (1000, 0), (100, 1)))
    assert np.bincount(few.splits["train"].labels).tolist() == [10] * 10
    assert np.bincount(many.splits["train"].labels).tolist() == [100] * 10
    assert set(few.splits["train"].names) < set(many.splits["train"].names)
    assert set(few.splits["train"].names) != set(other.splits["train"].names)
    assert len({few.fingerprint, many.fingerprint, other.fingerprint, garments.fingerprint}) == 4
    assert station.labeled_part(garments, None, 0) is garments
    assert len(few.splits["test"]) == len(garments.splits["test"])


def row(kind: str, objective: str, seed: int, **more: Any) -> dict[str, Any]:
    return {"kind": kind, "objective": objective, "seed": seed, "epochs": 8.0, "source": "fashion", "shared": False,
            "machine": f"2026-11-2{seed}, here, 1 cores, torch 2", **more}


def test_the_page_says_what_the_ledger_holds(tmp_path: Path) -> None:
    from without_labels_page import write_page

    scores = [{"method": "few-shot", "setting": "5 shots", "mean": 0.5}, {"method": "knn", "setting": "k=20",
                                                                          "mean": 0.75}]
    rows = [row("pretrain", "mae", 0, samples=480_000, flops=1e15, loss=0.5, beyond_constant=0.25),
            row("probe", "mae", 0, scores=scores), row("probe", "untrained", 0, scores=scores[:1]),
            row("finetune", "mae", 0, labels=100, test=0.6),
            row("finetune", "mae", 1, labels=100, test=0.7, flops=6.6e9, samples=100),
            row("scratch", "scratch", 0, labels=100, test=0.4), row("scratch", "scratch", 0, labels=100, test=0.55)]
    write_page(rows, tmp_path)
    page = (tmp_path / "without-labels.md").read_text()
    assert "| masked autoencoder, 75 % | 50.00 % | 75.00 % |" in page
    assert "| untrained | 50.00 % | - |" in page
    assert "| masked autoencoder, 75 % | 65.00 ± 7.07 % (60.00 to 70.00) |" in page
    assert "| from scratch | 55.00 % |" in page  # the newer line of the same cell
    assert "| masked autoencoder, 75 % | 480,000 | 1.00e+15 | 0.5 | 25 % | 1 |" in page
    assert ("Frozen features at 5 shots, best first: masked autoencoder, 75 % (50.0 %); untrained (50.0 %). "
            "Fine-tuned: with 100 labels masked autoencoder, 75 % has 65.0 %, from scratch 55.0 %.") in page
    assert "The training of one seed is 1e+15 FLOPs: 230 minutes at 1,100 labeled images a second" in page
    assert "\nMeasured: 2026-11-20 to 2026-11-21, here, 1 core, torch 2. The" in page
    assert "<svg" in (tmp_path / "without-labels-8.svg").read_text()


def test_two_workers_write_one_page(garments: Source, tmp_path: Path) -> None:
    import learning_without_labels as station

    one, other = (station.Harness(garments, garments, tmp_path, tmp_path / "runs", 8.0, True, (100,)) for _ in "12")
    for harness, objective in ((one, "mae"), (other, "dino"), (one, "scratch")):
        harness.note(row("scratch" if objective == "scratch" else "finetune", objective, 0, labels=100, test=0.5))
    page = (tmp_path / "without-labels.md").read_text()
    assert all(f"| {words} | 50.00 % |" in page for words in (
        "masked autoencoder, 75 %", "self-distillation (DINO)", "from scratch"))


def test_cells_are_trained_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
                                capsys: pytest.CaptureFixture[str]) -> None:
    import learning_without_labels as station
    import without_labels_recipes

    monkeypatch.setattr(without_labels_recipes, "looks_of", lambda part: 40)
    arguments = ["x", "--source", "digits", "--docs", str(tmp_path / "docs"), "--runs", str(tmp_path / "runs"),
                 "--epochs", "0.05", "--objectives", "masked-color", "untrained", "scratch", "--labels", "20"]
    monkeypatch.setattr(sys, "argv", arguments)
    with monkeypatch.context() as patched:
        patched.setattr("vitrail.run.ending.write_report", lambda *given, **named: None)
        station.main()
    kept = station.read_ledger(tmp_path / "docs" / "without-labels.jsonl")
    assert [line["kind"] for line in kept] == ["pretrain", "probe", "finetune", "probe", "scratch"]
    assert kept[2]["labels"] == kept[4]["labels"] == 20
    assert kept[4]["flops"] == pytest.approx(kept[0]["flops"] + kept[2]["flops"], rel=0.35)  # whole steps of a few
    capsys.readouterr()
    station.main()
    assert station.read_ledger(tmp_path / "docs" / "without-labels.jsonl") == kept
    assert capsys.readouterr().out.count("already there") == 4
