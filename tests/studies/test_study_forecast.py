from __future__ import annotations

import pytest

from vitrail.data.source import open_source
from vitrail.studies import forecast
from vitrail.studies.compute.plan import plan
from vitrail.studies.forecast import START, seconds_left, seconds_of

CELLS = plan(open_source("digits"), ["mu/4", "R26x0.5"], lengths=["1"], seeds=1).cells
VIT, RESNET = (next(cell for cell in CELLS if cell.model.startswith(name)) for name in ("mu", "R26"))


def row(model: str, samples: int, seconds: float, exaflops: float) -> dict[str, object]:
    return {"model": model, "cost": {"samples": samples, "seconds": seconds, "exaflops": exaflops}}


def test_what_is_finished_tells_what_is_left() -> None:
    assert seconds_left(CELLS, {}) is None
    rows = {"other": row(VIT.model, 1_000, 2.0, 1e-9)}
    assert seconds_of(VIT, rows) == pytest.approx(START + VIT.samples / 500)
    assert seconds_left([VIT], rows | {VIT.key: row(VIT.model, 1, 1.0, 1e-9)}) == 0


def test_a_model_that_was_never_trained_takes_as_long_as_its_compute() -> None:
    rows = {"other": row("another", 1_000, 4.0, 8e-6)}
    assert seconds_of(RESNET, rows) == pytest.approx(START + RESNET.exaflops / 2e-6)
    assert RESNET.exaflops / RESNET.samples != VIT.exaflops / VIT.samples


def test_asked_for_it_each_model_is_timed_once(monkeypatch: pytest.MonkeyPatch) -> None:
    timed: list[str] = []
    monkeypatch.setattr(forecast, "timed", lambda cell: timed.append(cell.model) or 100.0)
    found = seconds_left([*CELLS, *CELLS], {}, timing=True)
    assert found == pytest.approx(sum(2 * (START + cell.samples / 100) for cell in CELLS))
    assert sorted(timed) == sorted({cell.model for cell in CELLS})
