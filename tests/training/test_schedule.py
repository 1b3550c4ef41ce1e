from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from vitrail.training.schedule import Schedule


def factors(schedule: Schedule, total: int) -> list[float]:
    return [schedule.factor(step, step / total, total) for step in range(total)]


def test_warmup_is_linear_and_reaches_the_peak() -> None:
    values = factors(Schedule(kind="cosine", warmup=10, steps=100), 100)
    assert values[:10] == pytest.approx([(step + 1) / 10 for step in range(10)])
    assert max(values) == pytest.approx(1.0)


def test_cosine_is_half_in_the_middle_and_ends_at_final() -> None:
    schedule = Schedule(kind="cosine", warmup=0, final=0.1, steps=100)
    assert schedule.factor(50, 0.5, 100) == pytest.approx(0.55)
    assert schedule.factor(100, 1.0, 100) == pytest.approx(0.1)


def test_linear_falls_evenly() -> None:
    values = factors(Schedule(kind="linear", warmup=0, steps=10), 10)
    assert values == pytest.approx([1 - step / 10 for step in range(10)])


def test_rsqrt_is_flat_until_the_timescale_and_halves_at_four_times_it() -> None:
    schedule = Schedule(kind="rsqrt", warmup=100, steps=1000)
    assert schedule.factor(99, 0.099, 1000) == pytest.approx(1.0)
    assert schedule.factor(399, 0.399, 1000) == pytest.approx(0.5)


def test_constant_stays() -> None:
    assert set(factors(Schedule(kind="constant", warmup=0, steps=7), 7)) == {1.0}


def test_a_share_of_the_run_warms_up_like_the_same_number_of_steps() -> None:
    by_share = factors(Schedule(kind="cosine", warmup=0.1, steps=200), 200)
    by_steps = factors(Schedule(kind="cosine", warmup=20, steps=200), 200)
    assert by_share == pytest.approx(by_steps, abs=1e-9)


def test_a_time_limit_needs_no_number_of_steps() -> None:
    schedule = Schedule(kind="cosine", warmup=0.1, seconds=60)
    assert schedule.total_steps(1000, 10) is None
    assert schedule.factor(5, 0.05) == pytest.approx(0.5)
    assert schedule.factor(500, 0.55) == pytest.approx(0.5)
    assert schedule.factor(900, 1.2) == pytest.approx(0.0)


@given(kind=st.sampled_from(["cosine", "linear", "rsqrt", "constant"]), warmup=st.floats(0, 50),
       total=st.integers(1, 300), final=st.floats(0, 1))
def test_a_factor_is_always_between_zero_and_one(kind: str, warmup: float, total: int, final: float) -> None:
    schedule = Schedule(kind=kind, warmup=warmup, final=final, steps=total)  # type: ignore[arg-type]
    for value in factors(schedule, total):
        assert math.isfinite(value)
        assert 0 <= value <= 1 + 1e-12


def test_epochs_become_steps_that_cover_them() -> None:
    assert Schedule(epochs=2).total_steps(100, 30) == 7
    assert Schedule(epochs=0.001).total_steps(100, 30) == 1


@pytest.mark.parametrize("lengths", [{}, {"epochs": 1, "steps": 2}])
def test_exactly_one_length_is_wanted(lengths: dict[str, int]) -> None:
    with pytest.raises(ValidationError, match="exactly one of epochs, steps and seconds"):
        Schedule(**lengths)
