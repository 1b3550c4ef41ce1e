"""What the lenses attribution and occlusion say, of models whose answer is known."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from seen_patch import SEEN, bright, looking_at_one_patch
from test_explained import bundle_of
from tiny_models import pictures

from vitrail.bundle import Bundle
from vitrail.data.preprocess import Preprocess
from vitrail.errors import UsageError
from vitrail.inspection.lens import Subject
from vitrail.inspection.lenses import LENSES
from vitrail.inspection.lenses.answers import WORK, affordable, apart, in_light
from vitrail.models import create

ATTRIBUTION, OCCLUSION = LENSES["attribution"], LENSES["occlusion"]


def subject_of(bundle: Bundle, raw: Any, **settings: Any) -> Subject:
    return Subject(bundle, raw, tuple(f"{number}.png" for number in range(len(raw))), shown=2, **settings)


def test_the_best_explanation_is_named_with_what_it_has_to_beat() -> None:
    look = ATTRIBUTION.look(subject_of(looking_at_one_patch(), bright(6), target=1))
    trial = look.numbers["trial"]
    best = trial["trusted"][0]
    worth = {order: trial["insertion_area"][order] - trial["deletion_area"][order] for order in trial["deletion_area"]}
    assert f"it is worth {worth[best]:.2f}, a random order {worth['random']:.2f} (standard error" in look.found
    margin = 3 * trial["standard_error"]
    guess = worth["middle first"] > worth[best] - margin
    assert ("middle outward" in look.found) == guess
    assert look.found.startswith(f"Over 6 images, {best} does best: " if guess else f"Over 6 images, trust {best} most")
    alike = [name for name in trial["trusted"][1:] if worth[best] - worth[name] < trial["standard_error"]]
    assert (f"do not tell it apart from {', '.join(alike)}." in look.found) == bool(alike)
    assert trial["better_than_random"][best] == pytest.approx(worth[best] - worth["random"], abs=1e-4)
    maps = look.numbers["maps"]
    assert all(np.shape(one) == (2, 3, 2) for one in maps.values())
    assert np.unravel_index(np.argmax(maps["relevance"][0]), (3, 2)) == SEEN
    assert len(look.drawings) == 2


@pytest.mark.parametrize(("values", "shown"), [
    ((0.5, 0.25), ["0.50", "0.25"]), ((0.0012, 0.0009), ["0.0012", "0.0009"]),
    ((0.301, 0.299, 0.1), ["0.301", "0.299", "0.100"]), ((0.3, 0.3, 0.1), ["0.30", "0.30", "0.10"]),
    ((1e-9, 2e-9), ["0.00", "0.00"]),
])
def test_numbers_have_the_digits_that_tell_them_apart(values: tuple[float, ...], shown: list[str]) -> None:
    assert apart(*values) == shown


def test_numbers_have_the_digits_that_their_error_deserves() -> None:
    assert apart(0.02504, 0.01987, error=0.0025) == ["0.025", "0.020"]
    assert apart(0.5, 0.25, error=0.1) == ["0.50", "0.25"]
    assert apart(0.5, 0.25, error=0.0) == ["0.50", "0.25"]


def test_where_the_answer_never_changes_none_is_to_be_trusted() -> None:
    bundle = bundle_of()
    for value in bundle.model.get_submodule("head").parameters():
        value.data.zero_()
    look = ATTRIBUTION.look(subject_of(bundle, pictures(3)))
    assert "trust none of them" in look.found
    assert look.numbers["trial"]["trusted"] == []


def test_of_a_resnet_the_others_are_left_out_with_the_reason() -> None:
    model = create("R26x0.25", classes=3, image_size=(12, 8), depths=(1,)).eval()
    look = ATTRIBUTION.look(subject_of(Bundle(model, Preprocess(size=(12, 8))), pictures(2)))
    assert list(look.numbers["maps"]) == ["integrated gradients", "occlusion"]
    assert set(look.numbers["left_out"]) == {"relevance", "rollout", "last attention"}
    assert "Not here: relevance, rollout, last attention. " in look.caption
    assert "no attention to look at" in look.caption


def test_covers_that_matter_have_their_number() -> None:
    look = OCCLUSION.look(subject_of(looking_at_one_patch(), bright(2), target=1))
    falls = np.array(look.numbers["falls"]["mean"])
    whole = np.array(look.numbers["whole"])
    behind = (whole - falls.max((1, 2))).mean()
    assert np.unravel_index(falls[0].argmax(), (3, 2)) == SEEN
    assert f"from {whole.mean():.2f} to {behind:.2f}" in look.found
    assert "3 by 2 panes" in look.caption


def test_a_class_that_is_not_there_is_refused_by_both() -> None:
    for lens in (ATTRIBUTION, OCCLUSION):
        with pytest.raises(UsageError, match="no class 7"):
            lens.look(subject_of(looking_at_one_patch(), bright(2), target=7))


def test_a_large_model_explains_fewer_images_and_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    subject = replace(subject_of(looking_at_one_patch(), bright(5), target=1), shown=4)
    assert affordable(subject, 100, 16) == 5
    monkeypatch.setitem(WORK, "cpu", 1.0)
    assert affordable(subject, 100, 16) == 2
    for lens in (ATTRIBUTION, OCCLUSION):
        look = lens.look(subject)
        assert len(look.numbers["images"]) == 2
        assert "Only 2 of " in look.caption
        assert "CPU" in look.caption


def test_light_of_a_map_with_a_sign_begins_at_zero() -> None:
    image = np.full((24, 24, 3), 128, dtype=np.uint8)
    against = in_light(image, np.array([[-1.0, -0.5], [-2.0, -1.0]]), signed=True)
    assert (against == in_light(image, np.zeros((2, 2)), signed=True)).all()
    assert (in_light(image, np.array([[-1.0, 0], [1, 2]]), signed=True)[-1, -1] > against[-1, -1]).all()
