from __future__ import annotations

import numpy as np
import pytest

from vitrail.studies.compute.compare import best_at, pair
from vitrail.studies.compute.frontier import (
    Family,
    Trained,
    equally_likely,
    family_of_runs,
    frontier,
)

COMPUTE = np.geomspace(1e-6, 6.4e-5, 7)


def runs(name: str, errors: np.ndarray, compute: np.ndarray = COMPUTE) -> list[Trained]:
    return [Trained(name, f"model-{place}", "1", float(x), (float(y),))
            for place, (x, y) in enumerate(zip(compute, errors, strict=True))]


def law(times: float = 1.0, e: float = 0.02, b: float = 0.4, c: float = 0.35) -> np.ndarray:
    """What a family reaches that needs so many times the compute."""
    return e + b * (COMPUTE / COMPUTE[0] / times) ** -c


def family(name: str, errors: np.ndarray, scatter: float = 0.0) -> Family:
    return family_of_runs(name, runs(name, errors), scatter, 10_000)


def test_the_frontier_is_what_nothing_cheaper_beats() -> None:
    trained = [Trained("vit", *rest) for rest in [  # type: ignore[arg-type]
        ("a", "1", 1.0, (0.5,)), ("b", "1", 2.0, (0.6,)), ("c", "1", 3.0, (0.375, 0.125)), ("d", "1", 3.0, (0.35,)),
        ("e", "1", 4.0, (0.25,))]]
    found = family_of_runs("vit", trained[::-1], 0.0, 10_000).frontier
    assert [one.model for one in found] == ["a", "c"]  # e is as good as c, and dearer
    assert frontier([]) == ()


def test_every_run_is_beaten_or_on_the_frontier() -> None:
    random = np.random.default_rng(0)
    trained = [Trained("vit", str(place), "1", float(random.integers(1, 20)), (float(random.random()),))
               for place in range(60)]
    on = set(family_of_runs("vit", trained, 0.0, None).frontier)
    for one in trained:
        beaten = any(other.exaflops <= one.exaflops and other.error <= one.error for other in trained
                     if other is not one)
        assert beaten != (one in on)


def test_equally_likely_values_stand_for_a_posterior() -> None:
    values, weights = np.array([3.0, 1.0, 2.0]), np.array([0.25, 0.25, 0.5])
    drawn = equally_likely(values, weights)
    assert [(drawn == value).mean() for value in (1, 2, 3)] == [0.25, 0.5, 0.25]


@pytest.mark.parametrize("times", [0.2, 0.5, 2.0, 3.0, 8.0])
def test_how_many_times_the_compute_is_found(times: float) -> None:
    found = pair(family("vit", law()), family("bit", law(times)))
    assert len(found.levels) == 3
    for place in found.levels:
        assert place.ratio.low < times < place.ratio.high
    assert found.middle.ratio.expected == pytest.approx(times, rel=0.15)
    assert found.middle.ahead == (0 if times > 1 else 1)
    turned = found.turned().middle.ratio
    assert turned.expected == pytest.approx(1 / found.middle.ratio.expected)
    assert turned.low == pytest.approx(1 / found.middle.ratio.high)


def test_identical_families_are_no_evidence() -> None:
    found = pair(family("vit", law()), family("bit", law()))
    assert all(place.ahead is None for place in (*found.levels, *found.budgets))
    assert all(place.ratio.expected == pytest.approx(1) for place in (*found.levels, *found.budgets))


def test_intervals_cover_what_is_true_and_noise_is_seldom_evidence() -> None:
    random = np.random.default_rng(0)
    covered, fooled = [], []
    for _ in range(40):
        c, e = random.uniform(0.2, 0.5), random.uniform(0, 0.05)
        noisy = [law(times, e, 0.4, c) * np.exp(random.normal(0, 0.03, 7)) for times in (1.0, 1.0, 3.0)]
        ours, same, other = (family(name, errors, 0.03) for name, errors in zip(
            ("vit", "bit", "hybrid"), noisy, strict=True))
        place = pair(ours, other).middle
        covered.append(place.ratio.low < 3 < place.ratio.high)
        fooled.append(pair(ours, same).middle.ahead is not None)
    assert np.mean(covered) >= 0.85
    assert np.mean(fooled) <= 0.15


def test_families_with_nothing_in_common() -> None:
    far = family_of_runs("bit", runs("bit", law() / 20, COMPUTE * 1000), 0.0, 10_000)
    found = pair(family("vit", law()), far)
    assert (found.levels, found.budgets) == ((), ())


def test_the_best_of_three_is_likely_and_twins_share() -> None:
    ours, same, worse = family("vit", law()), family("bit", law()), family("hybrid", law(8))
    chances = best_at([ours, same, worse], float(COMPUTE[3]))
    assert chances["vit"] == pytest.approx(chances["bit"])
    assert chances["hybrid"] < 0.02
    assert sum(chances.values()) == pytest.approx(1, abs=0.02)
    assert best_at([ours], float(COMPUTE[3])) == {"vit": 1.0}


def test_saturation_is_told_from_a_power_law() -> None:
    assert family("vit", law(e=0.0)).saturates() < 0.2
    assert family("vit", law(e=0.1, b=0.3, c=0.9)).saturates() > 0.9


def test_no_errors_count_as_half_an_image() -> None:
    errors = np.array([0.3, 0.2, 0.1, 0.0])
    found = family_of_runs("vit", runs("vit", errors, COMPUTE[:4]), 0.0, 500)
    assert found.curve.y[-1] == 0.001
    assert found.posterior is not None
