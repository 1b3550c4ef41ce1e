from __future__ import annotations

import numpy as np
import pytest

from vitrail.errors import DataError, UsageError
from vitrail.studies.fit.curve import Curve
from vitrail.studies.fit.outlook import backtest, outlook, swap

SIZES = 500 * 2.0 ** np.arange(7)


def law(e: float, c: float, first: float) -> np.ndarray:
    return e + (first - e) * (SIZES / SIZES[0]) ** -c


def test_a_good_curve_has_no_warning_and_its_back_test_holds() -> None:
    seen = outlook(Curve(SIZES, law(0.05, 0.4, 0.5)))
    assert seen.warnings == ()
    assert seen.backtest is not None
    assert seen.backtest.held
    assert seen.backtest.x == SIZES[-1]
    assert list(seen.backtest.rivals) == ["last value", "M1", "M2", "M3"]
    assert list(seen.rivals(1e5)) == ["last value", "M1", "M2", "M3"]


def test_a_curve_that_rises_again_is_warned_of() -> None:
    y = law(0.05, 0.4, 0.5)
    y[3] *= 1.6
    assert any("not monotone" in words for words in outlook(Curve(SIZES, y)).warnings)


def test_a_sudden_end_of_progress_fails_the_back_test() -> None:
    y = law(0.0, 0.5, 0.5)
    y[-1] = y[-2] * 1.1
    words = " ".join(outlook(Curve(SIZES, y)).warnings)
    assert "do not trust it further out" in words


@pytest.mark.parametrize(("steps", "words"), [
    ([0.98, 0.95, 0.9, 0.85, 0.8, 0.75], "falls ever faster here"),
    ([0.7, 0.7, 0.7, 0.7, 0.7, 1.2], "falls more slowly here")])
def test_a_curve_with_a_bend_is_told_from_a_law(steps: list[float], words: str) -> None:
    bent = 0.5 * np.cumprod([1.0, *steps])
    assert words in " ".join(outlook(Curve(SIZES, bent)).warnings)
    assert words not in " ".join(outlook(Curve(SIZES, bent, scatter=0.5)).warnings)  # it may be chance


def test_three_sizes_are_few_and_have_no_back_test() -> None:
    curve = Curve(SIZES[:3], law(0.05, 0.4, 0.5)[:3])
    assert backtest(curve) is None
    assert "3 sizes are few" in outlook(curve).warnings[0]
    with pytest.raises(DataError):
        outlook(Curve(SIZES[:2], law(0.05, 0.4, 0.5)[:2]))


def test_far_is_warned_of_and_too_far_is_refused() -> None:
    seen = outlook(Curve(SIZES, law(0.05, 0.4, 0.5)))
    assert seen.distance(3.9 * SIZES[-1]) is None
    assert "5.0 times the largest" in (seen.distance(5 * SIZES[-1]) or "")
    seen.predict(9.9 * SIZES[-1])
    with pytest.raises(UsageError, match="11 times the largest size"):
        seen.predict(11 * SIZES[-1])
    assert seen.predict(11 * SIZES[-1], force=True).expected > 0.05


def test_two_curves_that_are_far_apart_do_not_swap() -> None:
    ours, theirs = Curve(SIZES, law(0.02, 0.4, 0.3)), Curve(SIZES, law(0.05, 0.4, 0.6))
    said = swap(ours, theirs, 4 * SIZES[-1])
    assert (said.ahead, said.at) == (0, None)
    assert said.probability < 0.05
    assert swap(theirs, ours, 4 * SIZES[-1]).ahead == 1


def test_two_curves_that_are_about_to_meet() -> None:
    """The second starts far behind and falls faster: they meet at 1.2 times the largest size."""
    meeting = 1.2 * SIZES[-1] / SIZES[0]
    first = law(0.0, 0.3, 0.4)
    second = 0.4 * meeting**-0.3 * (SIZES / SIZES[0] / meeting) ** -0.7
    said = swap(Curve(SIZES, first), Curve(SIZES, second), 4 * SIZES[-1])
    assert said.ahead == 0
    assert said.probability > 0.8
    assert said.at is not None
    assert said.at.low <= 1.2 * SIZES[-1] <= said.at.high


def test_a_curve_against_itself_is_undecided() -> None:
    curve = Curve(SIZES, law(0.05, 0.4, 0.5))
    assert 0.2 < swap(curve, curve, 4 * SIZES[-1]).probability < 0.6
