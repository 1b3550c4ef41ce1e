from __future__ import annotations

import numpy as np
import pytest

from vitrail.errors import DataError
from vitrail.studies.fit.curve import Curve, curve_of, seed_deviation


def test_runs_at_one_size_are_averaged_and_their_scatter_is_kept() -> None:
    curve = curve_of([(100, 0.5), (50, 0.7), (100, 0.4), (200, 0.3)])
    assert curve.x.tolist() == [50, 100, 200]
    assert curve.y == pytest.approx([0.7, 0.45, 0.3])
    off = np.std([0.5, 0.4], ddof=1) / 0.45
    assert curve.scatter == pytest.approx(off * np.sqrt((1 + 1 / 2 + 1) / 3))  # a mean of two runs, two single ones


def test_a_small_test_set_leaves_more_open_than_the_seeds_show() -> None:
    curve = curve_of([(100, 0.4), (100, 0.4), (200, 0.2)], test_images=100)
    assert curve.scatter == pytest.approx(np.sqrt(0.2 * 0.8 / 100) / 0.2)


@pytest.mark.parametrize(("x", "y", "words"), [
    ([1.0, 2.0], [0.5], "one error for each size"), ([2.0, 1.0], [0.5, 0.4], "must rise"),
    ([1.0, 1.0], [0.5, 0.4], "must rise"), ([0.0, 1.0], [0.5, 0.4], "above 0"),
    ([1.0, 2.0], [0.5, 0.0], "every test image is right already"), ([1.0, np.inf], [0.5, 0.4], "finite"),
    ([1.0, 2.0], [0.5, np.nan], "finite")])
def test_what_is_no_curve(x: list[float], y: list[float], words: str) -> None:
    with pytest.raises(DataError, match=words):
        Curve(np.array(x), np.array(y))


def test_a_curve_that_rises_again_says_where() -> None:
    x = np.array([1.0, 2, 4, 8, 16])
    assert Curve(x, np.array([0.5, 0.4, 0.41, 0.3, 0.2])).rises() == []  # within chance
    assert Curve(x, np.array([0.5, 0.4, 0.48, 0.3, 0.5])).rises() == [4, 16]
    assert Curve(x, np.array([0.5, 0.4, 0.48, 0.3, 0.2]), scatter=0.12).rises() == []


def test_what_one_run_is_off_is_pooled_over_all_sizes_that_have_several() -> None:
    groups = [np.array([0.9, 1.1]), np.array([1.8, 2.2, 2.0]), np.array([5.0])]
    squares = [(np.std(group, ddof=1) / group.mean()) ** 2 for group in groups[:2]]
    assert seed_deviation(groups) == pytest.approx(np.sqrt(np.mean(squares)))
    assert seed_deviation(groups[2:]) == 0.0
    assert seed_deviation([]) == 0.0
