from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import binomtest, t

from vitrail.studies.intervals import mean_of, measured, paired, student, wilson


@pytest.mark.parametrize("freedom", [1, 2, 3, 4, 5, 9, 30])
@pytest.mark.parametrize("probability", [0.5, 0.9, 0.99])
def test_student_as_scipy_has_it(freedom: int, probability: float) -> None:
    assert student(freedom, probability) == pytest.approx(t.ppf(0.5 + probability / 2, freedom), rel=1e-9)


def test_the_interval_of_a_difference_is_of_its_pairs() -> None:
    first, second = {0: 90.0, 1: 80.0, 2: 71.0, 7: 1.0}, {0: 89.0, 1: 78.0, 2: 70.0, 8: 99.0}
    found = paired(first, second)
    assert found is not None
    low, high = t.interval(0.9, 2, loc=4 / 3, scale=np.std([1, 2, 1], ddof=1) / np.sqrt(3))
    assert (found.value, found.low, found.high, found.count) == pytest.approx((4 / 3, low, high, 3))
    assert not found.holds(0)


def test_intervals_hold_the_truth_as_often_as_they_say() -> None:
    draws = np.random.default_rng(0).normal(3.0, 2.0, (2000, 3))
    assert np.mean([mean_of(list(row)).holds(3.0) for row in draws]) == pytest.approx(0.9, abs=0.02)


def test_one_run_has_no_interval_and_equal_ones_have_that_of_an_image() -> None:
    one = mean_of([90.0])
    assert (one.low, one.high, one.holds(0), one.count) == (None, None, True, 1)
    same = mean_of([1.0, 1.0, 1.0], least=0.1)
    assert (same.low, same.high) == pytest.approx((0.9, 1.1))
    assert paired({0: 1.0}, {1: 1.0}) is None


@pytest.mark.parametrize(("right", "asked"), [(0, 10), (3, 10), (199, 200), (500, 1000)])
def test_wilson_as_scipy_has_it(right: int, asked: int) -> None:
    assert wilson(right / asked, asked) == pytest.approx(tuple(binomtest(right, asked).proportion_ci(0.9, "wilson")))


def test_an_accuracy_leaves_open_what_its_images_and_its_seeds_do() -> None:
    one = measured([0.8], 100)
    assert (one.low, one.high) == pytest.approx(wilson(0.8, 100))
    several = measured([0.7, 0.8, 0.9], 100)
    low, high = t.interval(0.9, 2, loc=0.8, scale=0.1 / np.sqrt(3))
    assert several.low == pytest.approx(0.8 - np.hypot(0.8 - wilson(0.8, 100)[0], 0.8 - low))
    assert several.high == pytest.approx(0.8 + np.hypot(wilson(0.8, 100)[1] - 0.8, high - 0.8))
    assert measured([0.98, 1.0], 100).high == 1.0
    assert several.count == 3
