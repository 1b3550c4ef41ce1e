from __future__ import annotations

import numpy as np
import pytest
from seen_patch import SEEN, bright, looking_at_one_patch
from test_explained import bundle_of
from tiny_models import pictures

from vitrail.inspection.explained import Explained, explained
from vitrail.inspection.explanations import explanations
from vitrail.inspection.panes import Panes, panes_of
from vitrail.inspection.trial import DRAWS, MIDDLE, RANDOM, Trial, area, middle, places, ranked, trial


def truth(images: int) -> np.ndarray:
    map = np.zeros((images, 3, 2), dtype=np.float32)
    map[:, SEEN[0], SEEN[1]] = 1
    return map


def one_patch_tried(images: int = 6) -> tuple[Explained, Trial]:
    asked = explained(looking_at_one_patch(), bright(images), target=1)
    panes = panes_of(asked.bundle.model, asked.raw)
    return asked, trial(asked, panes, {"truth": truth(images), "opposite": -truth(images),
                                       "even": np.zeros((images, 3, 2), dtype=np.float32)})


def test_the_truth_beats_random_and_its_opposite_does_not() -> None:
    asked, tried = one_patch_tried()
    deletion, insertion = (dict(zip(tried.orders, areas.mean(1), strict=True)) for areas in tried.areas)
    assert deletion["truth"] < deletion[RANDOM] < deletion["opposite"]
    assert insertion["truth"] > insertion["opposite"]
    assert tried.trusted == ["truth"]
    assert next(iter(tried.gain)) == "truth"
    assert tried.gain["opposite"] < 0
    assert set(tried.gain) == {"truth", "opposite", "even", MIDDLE}
    score = float(asked.score(asked.images(0), asked.classes[:1] * 0).detach())  # type: ignore[index]
    assert tried.deletion[:, 0, 0] == pytest.approx(score, abs=1e-5)  # nothing is taken away: the whole image
    assert tried.insertion[:, 0, -1] == pytest.approx(score, abs=1e-5)
    assert np.ptp(tried.deletion[0, :, 1:], axis=1).max() < 0.02  # without that patch nothing matters


def test_areas_of_a_curve_that_falls_at_once() -> None:
    """The truth takes everything away with its first patch: what is left is half of the first of six."""
    _, tried = one_patch_tried(1)
    line = tried.deletion[0, 0]
    expected = line[1] + (line[0] - line[1]) / 2 * tried.fractions[1]
    assert tried.areas[0][0, 0] == pytest.approx(expected, abs=0.01)
    assert tried.fractions.tolist() == [0, 1 / 6, 2 / 6, 3 / 6, 4 / 6, 5 / 6, 1]
    assert area(np.array([1.0, 0.0, 0.0]), np.array([0, 0.5, 1])) == pytest.approx(0.25)


def test_all_explanations_of_a_model_that_looks_at_one_patch_find_it() -> None:
    asked = explained(looking_at_one_patch(), bright(6), target=1)
    found = explanations(asked)
    assert list(found.maps) == ["relevance", "integrated gradients", "occlusion", "rollout", "last attention"]
    for maps in found.maps.values():
        assert [np.unravel_index(one.argmax(), one.shape) for one in maps] == [SEEN] * 6
    assert set(trial(asked, found.panes, found.maps).trusted) == set(found.maps)


def test_nothing_is_trusted_where_the_answer_never_changes() -> None:
    asked = explained(bundle_of(), pictures(3), target=1)
    silent = asked.bundle.model.get_submodule("head")
    for value in silent.parameters():
        value.data.zero_()
    panes = panes_of(asked.bundle.model, asked.raw)
    tried = trial(asked, panes, {"truth": truth(3)})
    assert (tried.trusted, tried.error) == ([], 0)
    assert tried.gain == {"truth": 0, MIDDLE: 0}


def test_random_maps_are_hardly_ever_trusted() -> None:
    """Orders drawn by chance stand to the random ones as these to one another."""
    asked = explained(looking_at_one_patch(), bright(2), target=1)
    panes = panes_of(asked.bundle.model, asked.raw)
    chance = np.random.default_rng(0)
    tried = trial(asked, panes, {f"noise {n}": chance.random((2, 3, 2)).astype(np.float32) for n in range(12)})
    assert len(tried.trusted) <= 1


def test_the_same_seed_gives_the_same_curves_and_noise_has_every_draw() -> None:
    (_, first), (_, second) = one_patch_tried(2), one_patch_tried(2)
    assert np.array_equal(first.deletion, second.deletion)
    assert first.noise.shape == (2, DRAWS)
    assert first.noise.mean() == pytest.approx(first.worth[list(first.orders).index(RANDOM)].mean(), abs=1e-9)


def test_the_largest_comes_first_and_ties_fall_by_chance() -> None:
    chance = np.random.default_rng(0)
    assert ranked(np.array([[0.1, 3.0], [-1.0, 2.0]]), chance).tolist() == [2, 0, 3, 1]
    orders = {tuple(ranked(np.zeros((2, 2)), chance)) for _ in range(200)}
    assert len(orders) == 24


def test_from_the_middle_outward() -> None:
    found = middle(Panes((0, 4, 8, 12), (0, 4, 8, 12)))
    assert found.argmax() == 4
    assert found[0, 0] == found.min() < found[0, 1]


@pytest.mark.parametrize("panes", [1, 2, 6, 49, 1369])
def test_places_reach_from_none_to_all(panes: int) -> None:
    counts = places(panes)
    assert (counts[0], counts[-1]) == (0, panes)
    assert (np.diff(counts) > 0).all()
