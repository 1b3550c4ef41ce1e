"""Intervals against SciPy and against what happens when the draws are really repeated."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from vitrail.evaluation.interval import bootstrap_interval
from vitrail.transfer.scores import Measured, scored, student_interval, suite_of


@pytest.mark.parametrize("draws", [2, 3, 5, 31, 60])
def test_the_interval_over_draws_is_students(draws):
    values = np.random.default_rng(draws).normal(0.5, 0.02, draws)
    expected = stats.t.interval(0.95, draws - 1, values.mean(), stats.sem(values))
    np.testing.assert_allclose(student_interval(values), expected, atol=2e-5)


def test_it_stays_between_none_and_all():
    assert student_interval([0.98, 1.0, 0.9])[1] == 1.0
    assert student_interval([0.0, 0.1])[0] == 0.0
    assert student_interval([0.25, 0.25]) == (0.25, 0.25)


def score(source, accuracies, images=1_000, method="knn"):
    return scored(accuracies, images, source=source, method=method, setting="k=20", shots=None, images=10)


def test_one_draw_has_the_interval_of_its_test_images():
    one = score("a", [0.8])
    assert (one.over, one.interval) == ("test images", bootstrap_interval(800, 1_000))
    assert score("a", [0.8, 0.7]).over == "draws"


def measured(source, test=1_000):
    return Measured(source=source, kind="", classes=2, train=10, test=test)


def test_the_mean_over_sources_and_its_interval():
    """Two sources of 1,000 images at 80 % and 60 %, one draw each: the mean's deviation is known."""
    suite, = suite_of([score("a", [0.8]), score("b", [0.6])], [measured("a"), measured("b")])
    assert suite.mean == pytest.approx(0.7)
    deviation = np.sqrt(0.8 * 0.2 / 1_000 + 0.6 * 0.4 / 1_000) / 2
    assert suite.interval == pytest.approx((0.7 - 1.96 * deviation, 0.7 + 1.96 * deviation), abs=2e-3)


def test_draws_that_differ_widen_the_interval_of_the_mean():
    same = suite_of([score("a", [0.7] * 3), score("b", [0.7] * 3)], [measured("a"), measured("b")])[0]
    apart = suite_of([score("a", [0.5, 0.7, 0.9]), score("b", [0.7] * 3)], [measured("a"), measured("b")])[0]
    assert apart.mean == pytest.approx(same.mean)
    assert apart.interval[1] - apart.interval[0] > 2 * (same.interval[1] - same.interval[0])


def test_only_what_every_source_has_is_averaged():
    rows = [score("a", [0.8]), score("b", [0.6]), score("a", [0.9], method="linear")]
    assert [one.method for one in suite_of(rows, [measured("a"), measured("b")])] == ["knn"]
    assert suite_of(rows[:1], [measured("a")]) == ()
