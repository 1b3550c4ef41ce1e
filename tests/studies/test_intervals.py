from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import binomtest, norm, t

from vitrail.studies.intervals import mean_of, measured, paired, shared_chance, student, wilson


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
    alone = measured([0.8], 100, 0.0)
    assert (alone.low, alone.high) == pytest.approx(wilson(0.8, 100))
    several = measured([0.7, 0.8, 0.9], 100, 0.1)
    half = norm.ppf(0.95) * 0.1 * 0.2 / np.sqrt(3)
    low, high = wilson(0.8, 100)
    assert several.low == pytest.approx(0.8 - np.hypot(0.8 - low, half))
    assert several.high == pytest.approx(0.8 + np.hypot(high - 0.8, half))
    assert measured([1.0, 1.0], 100, 0.1).high == 1.0
    assert several.count == 3


def test_chance_that_all_share_is_that_of_the_runs_whatever_variants_and_seeds_do() -> None:
    """Half of an interval by Student, of runs with a deviation of 2; one wild variant does not change it much."""
    random, found = np.random.default_rng(0), []
    for _ in range(200):
        runs = random.normal(0, 2.0, (8, 3)) + 50 * random.normal(size=(8, 1)) + 30 * random.normal(size=3)
        found.append(shared_chance([dict(enumerate(row)) for row in runs], 3))
        runs[3] += random.normal(0, 20, 3)
        found.append(shared_chance([dict(enumerate(row)) for row in runs], 3))
    half = t.ppf(0.95, 14) * 2.0 * np.sqrt(2 / 3)
    assert np.median(found[::2]) == pytest.approx(half, rel=0.1)
    assert np.median(found[1::2]) < 2.5 * half


def test_chance_that_nothing_tells() -> None:
    groups = [{0: 1.0, 1: 2.0}, {0: 4.0, 1: 3.0}, {0: 5.0, 1: 7.0}]
    assert shared_chance(groups, 2) > 0
    assert shared_chance([*groups, {0: 1.0}], 2) == 0.0  # one seed in common says nothing
    assert shared_chance(groups[:2], 2) == shared_chance(groups[:1], 2) == shared_chance([], 2) == 0.0


def test_what_differs_by_luck_is_called_a_difference_less_often_than_one_in_ten() -> None:
    """Eight equal variants, two seeds, each against the first: of the pairs alone one in ten is far from 0."""
    random, alone, together = np.random.default_rng(1), 0, 0
    for _ in range(300):
        groups = [dict(enumerate(row)) for row in random.normal(0, 1, (8, 2))]
        least = shared_chance(groups, 2)
        for group in groups[1:]:
            pair, wide = paired(group, groups[0]), paired(group, groups[0], least)
            assert pair is not None
            assert wide is not None
            alone += not pair.holds(0)
            together += not wide.holds(0)
    assert alone / 2100 == pytest.approx(0.1, abs=0.03)
    assert together / 2100 < 0.04
