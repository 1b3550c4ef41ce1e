from __future__ import annotations

import math

import numpy as np
import pytest
from scipy.stats import norm

from vitrail.errors import DataError
from vitrail.studies.fit.baselines import BASELINES, offset_power, power, saturating
from vitrail.studies.fit.broken import broken
from vitrail.studies.fit.curve import Curve
from vitrail.studies.fit.posterior import NOISE, fit, quantiles

SIZES = 500 * 2.0 ** np.arange(7)


def law(e: float = 0.05, c: float = 0.4, first: float = 0.5, x: np.ndarray = SIZES) -> np.ndarray:
    return e + (first - e) * (x / SIZES[0]) ** -c


def test_an_exact_law_is_gone_on_with() -> None:
    posterior = fit(Curve(SIZES, law()))
    assert posterior.weights.sum() == pytest.approx(1)
    for far in (2, 4):
        truth = float(law(x=np.array([far * SIZES[-1]]))[0])
        said = posterior.predict(far * SIZES[-1])
        assert said.expected == pytest.approx(truth, rel=0.03)
        assert said.low < truth < said.high


def test_the_same_numbers_every_time_and_in_any_unit() -> None:
    curve = Curve(SIZES, law())
    said = fit(curve).predict(2 * SIZES[-1])
    assert fit(curve).predict(2 * SIZES[-1]) == said
    scaled = fit(Curve(SIZES * 1e9, law())).predict(2e9 * SIZES[-1])
    assert scaled == pytest.approx(said, rel=1e-9)
    points = fit(Curve(SIZES, 100 * law())).predict(2 * SIZES[-1])
    assert points == pytest.approx([100 * value for value in said], rel=1e-9)


def test_more_noise_and_more_distance_make_wider_intervals() -> None:
    def width(scatter: float, far: float) -> float:
        said = fit(Curve(SIZES, law(), scatter)).predict(far * SIZES[-1])
        return math.log(said.high / said.low)

    assert width(0.02, 2) < width(0.02, 8)
    assert width(0.02, 2) < width(0.1, 2)
    assert width(0.0, 2) == width(0.02, 2)  # the floor


def test_the_size_for_a_target() -> None:
    posterior = fit(Curve(SIZES, law()))
    needed = 3 * SIZES[-1]
    reach = posterior.size_for(float(law(x=np.array([needed]))[0]))
    assert reach.size is not None
    assert reach.size.low < needed < reach.size.high
    assert reach.unreachable < 0.2


def test_a_target_that_cannot_be_reached() -> None:
    """The curve lies on 0.3 already: nothing brings it to 0.2."""
    flat = 0.3 + 0.2 * (SIZES / SIZES[0]) ** -2.0
    reach = fit(Curve(SIZES, flat)).size_for(0.2)
    assert reach.unreachable > 0.9
    assert reach.size is None
    nothing = fit(Curve(SIZES, flat)).size_for(0.0)
    assert nothing.unreachable > 0.9


def test_what_doubling_brings() -> None:
    slope = fit(Curve(SIZES, law(e=0.0))).slope(SIZES[-1])
    assert slope.low < 1 - 2**-0.4 < slope.high


def test_intervals_hold_the_truth_about_as_often_as_they_say() -> None:
    drawn, inside = np.random.default_rng(3), []
    for _ in range(60):
        e, c = drawn.uniform(0, 0.1), drawn.uniform(0.2, 0.8)
        y = law(e, c, x=SIZES[:6]) * np.exp(drawn.uniform(0.01, 0.05) * drawn.standard_normal(6))
        needed = SIZES[5] * drawn.uniform(1.3, 4)
        found = fit(Curve(SIZES[:6], y)).size_for(float(law(e, c, x=np.array([needed]))[0])).size
        inside.append(found is not None and found.low <= needed <= found.high)
    assert 0.85 <= np.mean(inside) <= 1.0


def test_two_sizes_are_no_curve() -> None:
    with pytest.raises(DataError, match="2 sizes are too few for a curve: 3 are needed"):
        fit(Curve(SIZES[:2], law()[:2]))


def test_quantiles_of_weighted_values() -> None:
    values, weights = np.array([3.0, 1.0, 2.0]), np.array([0.2, 0.5, 0.3])
    assert quantiles(values, weights, [0.1, 0.5, 0.6, 0.9]).tolist() == [1, 1, 2, 3]
    assert np.array([1.0]) == quantiles(np.array([1.0]), np.array([1.0]), [1.0])


def test_the_noise_is_normal() -> None:
    assert pytest.approx(norm.ppf((np.arange(20) + 0.5) / 20), abs=1e-4) == NOISE


def test_baselines_know_their_own_law() -> None:
    x = 4 * SIZES[-1]
    assert BASELINES["last value"](Curve(SIZES, law()))(x) == law()[-1]
    assert power(Curve(SIZES, law(e=0.0)))(x) == pytest.approx(float(law(e=0.0, x=np.array([x]))[0]), rel=1e-9)
    assert offset_power(Curve(SIZES, law()))(x) == pytest.approx(float(law(x=np.array([x]))[0]), rel=0.02)
    saturated = 2 * (1 / SIZES + 1e-4) ** 0.3
    assert saturating(Curve(SIZES, saturated))(x) == pytest.approx(2 * (1 / x + 1e-4) ** 0.3, rel=0.005)


def test_huber_is_not_led_astray_by_one_bad_point() -> None:
    y = law()
    y[2] *= 1.5
    x = 4 * SIZES[-1]
    assert offset_power(Curve(SIZES, y))(x) == pytest.approx(float(law(x=np.array([x]))[0]), rel=0.02)
    assert abs(math.log(power(Curve(SIZES, y))(x) / offset_power(Curve(SIZES, y))(x))) > 0.05


def test_a_law_with_a_break_finds_it() -> None:
    x = np.geomspace(1e3, 1e6, 16)

    def true(x: np.ndarray) -> np.ndarray:
        return np.asarray(0.02 + 3 * x**-0.1 * (1 + (x / 3e4) ** (1 / 0.3)) ** (-0.5 * 0.3))

    assert broken(Curve(x, true(x)))(4e6) == pytest.approx(float(true(np.array([4e6]))[0]), rel=0.05)
    with pytest.raises(DataError, match="needs 10 sizes"):
        broken(Curve(SIZES, law()))
