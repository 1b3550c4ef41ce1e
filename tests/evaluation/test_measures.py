"""Interval, calibration and ranking against values worked out by hand and against other implementations."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import average_precision_score

from vitrail.evaluation.calibration import calibration_error
from vitrail.evaluation.interval import bootstrap_interval
from vitrail.evaluation.ranking import average_precision


def test_interval_is_repeatable_and_agrees_with_resampling_the_images() -> None:
    low, high = bootstrap_interval(80, 100)
    assert (low, high) == bootstrap_interval(80, 100)
    answers = np.repeat([1, 0], [80, 20])
    draws = np.random.default_rng(5).choice(answers, (20_000, 100)).mean(1)
    assert [low, high] == pytest.approx(np.quantile(draws, [0.025, 0.975]), abs=0.011)


def test_interval_without_any_variation_is_the_exact_bound() -> None:
    """At an accuracy of `low`, nine right of nine still have a chance of 5 %."""
    low, high = bootstrap_interval(9, 9)
    assert high == 1
    assert low**9 == pytest.approx(0.05)
    assert bootstrap_interval(0, 9) == pytest.approx((0, 1 - low))


@pytest.mark.parametrize(("correct", "images"), [(1, 0), (-1, 3), (4, 3)])
def test_interval_of_no_fraction(correct: int, images: int) -> None:
    with pytest.raises(ValueError, match="not a fraction"):
        bootstrap_interval(correct, images)


def test_calibration_error_by_hand() -> None:
    confidence = np.array([0.95, 0.95, 0.95, 0.95, 0.55, 0.55])
    correct = np.array([True, True, True, False, True, False])
    # 4 answers at 0.95 of which 3/4 are right, 2 at 0.55 of which 1/2 are right
    assert calibration_error(confidence, correct) == pytest.approx((4 * 0.20 + 2 * 0.05) / 6)


def test_calibration_error_takes_the_ends_of_the_scale() -> None:
    assert calibration_error(np.array([0.0, 1.0]), np.array([False, True])) == 0
    assert calibration_error(np.array([1.0, 1.0]), np.array([False, False])) == 1
    with pytest.raises(ValueError, match="at least one"):
        calibration_error(np.array([]), np.array([]))


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.sampled_from([0.0, 0.1, 0.25, 0.5, 0.7, 1.0]), st.booleans()), min_size=1, max_size=30))
def test_average_precision_agrees_with_scikit_learn_also_with_ties(pairs: list[tuple[float, bool]]) -> None:
    scores, positive = (np.array(column) for column in zip(*pairs, strict=True))
    given_value = average_precision(scores, positive)
    if not positive.any():
        assert given_value is None
    else:
        assert given_value == pytest.approx(average_precision_score(positive, scores))


def test_average_precision_by_hand() -> None:
    scores, positive = np.array([0.9, 0.8, 0.7, 0.6]), np.array([True, False, True, False])
    assert average_precision(scores, positive) == pytest.approx((1 / 1 + 2 / 3) / 2)
