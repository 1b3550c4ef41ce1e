"""One suite for every lens, on every kind of model that can be loaded."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from tiny_models import pictures, tiny

from vitrail.bundle import Bundle
from vitrail.data.preprocess import Preprocess
from vitrail.errors import UnknownNameError
from vitrail.inspection.attention_distance import attention_distance
from vitrail.inspection.attention_maps import attention_maps
from vitrail.inspection.drawing import drawn, figure_of, pixels
from vitrail.inspection.feature_colors import feature_colors
from vitrail.inspection.filters import patch_filters, raw_filters
from vitrail.inspection.health import health
from vitrail.inspection.lens import Look, Subject
from vitrail.inspection.lenses import LENSES
from vitrail.inspection.lenses.attention import by_layer, in_light_of
from vitrail.inspection.looking import chosen, seen
from vitrail.models import create
from vitrail.vocabulary import Progress

MODELS: dict[str, Any] = {
    "class token": lambda: tiny(),
    "registers and mean": lambda: tiny(registers=2, pooling="mean", positions="sincos-2d"),
    "attention pooling": lambda: tiny(pooling="attention"),
    "two tokens": lambda: tiny(pooling="distilled"),
    "relative": lambda: tiny(positions="relative"),
    "relative bias": lambda: tiny(positions="relative-bias", pooling="mean"),
    "rotary": lambda: tiny(positions="rotary-2d"),
    "no positions": lambda: tiny(positions="none"),
    "bf16": lambda: tiny().to(torch.bfloat16),
    "no head": lambda: create("mu/4", classes=0, image_size=(12, 8), width=16, depth=3, heads=2, mlp=32).eval(),
    "axial": lambda: create("axial-mu/4", classes=3, image_size=(12, 8)).eval(),
    "hybrid": lambda: create("R26x0.25+mu/4", classes=3, image_size=(12, 8)).eval(),
    "resnet": lambda: create("R26x0.25", classes=3, image_size=(12, 8), depths=(1, 1)).eval(),
    "axial resnet": lambda: create("axial-R26x0.25", classes=3, image_size=(16, 16), depths=(1, 1)).eval(),
}
RESNETS = ("resnet", "axial resnet")
NOTHING = dict.fromkeys(("attention-distance", "attention", "rollout"), RESNETS) | {"place": RESNETS}


def subject_of(kind: str, images: int = 5, **settings: Any) -> Subject:
    torch.manual_seed(0)
    model = MODELS[kind]()
    size = model.config.image_size
    return Subject(Bundle(model, Preprocess(size=size)), pictures(images, size),
                   tuple(f"picture-{number}.png" for number in range(images)), shown=2, batch_size=4, **settings)


@pytest.mark.parametrize("kind", MODELS)
@pytest.mark.parametrize("name", LENSES)
def test_a_lens_looks_at_a_model_or_says_why_not(name: str, kind: str) -> None:
    subject = subject_of(kind)
    model = subject.bundle.model
    before = {key: value.clone() for key, value in model.state_dict().items()}
    look = seen(subject, LENSES[name])
    if kind in NOTHING.get(name, ()):
        assert isinstance(look, str)
        assert len(look) > 30
    else:
        assert isinstance(look, Look), look
        assert json.loads(json.dumps(look.numbers, allow_nan=False))
        assert look.drawings
        assert look.found.endswith(".")
        assert look.caption.endswith(".")
    assert all(torch.equal(before[key], value) for key, value in model.state_dict().items())
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in model.modules())
    assert all(weight.requires_grad and weight.grad is None for weight in model.parameters())


@pytest.mark.parametrize("kind", ["class token", "axial", "resnet", "no positions"])
def test_drawings_are_files_that_can_be_opened(kind: str) -> None:
    names = []
    subject = subject_of(kind)
    for look in (seen(subject, lens) for lens in LENSES.values()):
        if isinstance(look, Look):
            for drawing in look.drawings:
                svg = drawn(drawing, "svg")
                assert svg == drawn(drawing, "svg")  # nothing of the day or by chance
                assert b"http://www.w3.org" in svg[:400]
                assert drawn(drawing, "png").startswith(b"\x89PNG")
                names.append(drawing.name)
    assert len(names) == len(set(names))


def test_one_image_is_enough_but_where_images_are_compared() -> None:
    found = {name: seen(subject_of("class token", 1), lens) for name, lens in LENSES.items()}
    assert all(isinstance(look, Look) for look in found.values())
    assert "4 images are needed; 1 given" in found["place"].found  # type: ignore[union-attr]
    lone = seen(subject_of("resnet", 1), LENSES["health"])
    assert lone == "Layers of a ResNet are compared over images: 4 are needed at least, 1 given."


def test_an_unknown_lens() -> None:
    with pytest.raises(UnknownNameError, match="Did you mean 'rollout'"):
        chosen(["filters", "rolout"])
    assert [lens.name for lens in chosen(["rollout", "filters", "rollout"])] == ["rollout", "filters"]
    assert len(chosen([])) == len(LENSES)


def test_the_attention_of_a_place_that_is_asked_for() -> None:
    look = LENSES["attention"].look(subject_of("class token", place=(2, 1)))
    assert look.numbers["asked_by"] == "the patch in row 2, column 1"
    assert "where the patch in row 2, column 1 (framed) looks" in look.caption
    assert np.shape(look.numbers["layers_heads_averaged"]) == (3, 2, 3, 2)


def test_the_numbers_hold_what_is_drawn() -> None:
    subject = subject_of("class token")
    numbers = {name: LENSES[name].look(subject).numbers for name in ("attention-distance", "health", "features",
                                                                     "filters")}
    far = attention_distance(subject.bundle, subject.raw).pixels
    for share in (10, 90):
        told = numbers["attention-distance"][f"percentile_{share}"]
        assert np.allclose(told, np.percentile(far, share, 2), atol=1e-3)
    longest = np.percentile(health(subject.bundle, subject.raw).lengths, 99, (1, 2))
    assert np.allclose(numbers["health"]["patch_length_one_in_a_hundred"], longest, atol=1e-3)
    shown = feature_colors(subject.bundle, subject.few).pictures
    assert np.allclose(numbers["features"]["colors"], np.stack(shown), atol=1e-3)
    assert np.allclose(numbers["filters"]["components"], patch_filters(subject.bundle.model).pictures, atol=1e-3)
    assert np.allclose(numbers["filters"]["filters"], raw_filters(subject.bundle.model), atol=1e-3)


def floats(value: object) -> Iterator[float]:
    if isinstance(value, float):
        yield value
    for one in value.values() if isinstance(value, dict) else value if isinstance(value, (list, tuple)) else ():
        yield from floats(one)


@pytest.mark.parametrize("name", sorted(LENSES))
def test_numbers_have_no_more_digits_than_they_were_rounded_to(name: str) -> None:
    found = list(floats(LENSES[name].look(subject_of("class token")).numbers))
    assert found
    assert [number for number in found if number != round(number, 6)] == []


@pytest.mark.parametrize("name", LENSES)
@pytest.mark.parametrize("kind", ["class token", "resnet"])
def test_how_many_images_pass_is_foretold(name: str, kind: str) -> None:
    """Small models do without many of the passes that are counted on: far fewer, and never far more."""
    passed: list[Progress] = []
    subject = subject_of(kind)
    look = seen(subject, LENSES[name], watch=passed.append)
    foretold = LENSES[name].passes(subject)
    done = passed[-1].done if passed else 0
    if name == "occlusion":
        assert done == foretold + 3  # and both images, and an empty one, to know what is to be explained
    assert done <= 1.5 * foretold + len(subject.raw) or isinstance(look, str)
    assert all(one.done <= one.total for one in passed)


@pytest.mark.parametrize(("images", "words"), [
    (8, "after block 3 of the features' variance."),
    (1, "6 patches in all are too few to tell: three directions hold most of any."),
])
def test_three_directions_of_few_patches_say_nothing(images: int, words: str) -> None:
    look = LENSES["features"].look(replace(subject_of("class token", images), shown=images))
    assert look.found.endswith(words)
    assert bool(look.measures) == (images == 8)


def test_components_that_are_all_there_are_say_so() -> None:
    few = LENSES["filters"].look(subject_of("class token"))
    assert few.found.startswith("All 15 components of the patch embedding's filters are shown; the first 5 hold ")
    torch.manual_seed(0)
    many = LENSES["filters"].look(Subject(Bundle(create("mu/4", classes=3, image_size=8, width=64, heads=2),
                                                 Preprocess(size=(8, 8))), pictures(1, (8, 8)), ("one",)))
    assert re.search(r"^The first 28 components hold \d+ % of the variance of .*, the first 5 alone \d+ %", many.found)


def test_a_pooling_query_has_no_place_of_its_own() -> None:
    """Where one patch's attention is asked for, the picture of the pooling query has no frame."""
    subject = subject_of("attention pooling", place=(0, 0))
    [part] = [attention_maps(subject.bundle, subject.raw[:1], subject.place)]
    assert part.pooling is not None
    drawing = by_layer(replace(subject, shown=1), [part])
    figure = figure_of(drawing)
    pictures_ = [np.asarray(axes.images[0].get_array()) for axes in figure.axes if axes.images]
    assert (pictures_[1][:2, :2] == 0).all()
    assert (pictures_[-1] == in_light_of(pixels(subject.raw[:1])[0], part.pooling[0])).all()


def test_one_patch_attends_to_no_other() -> None:
    model = create("mu/8", classes=3, image_size=8).eval()
    subject = Subject(Bundle(model, Preprocess(size=(8, 8))), pictures(5, (8, 8)), tuple("abcde"))
    for name in ("attention-distance", "attention", "rollout"):
        assert "takes the whole image for one patch" in seen(subject, LENSES[name])  # type: ignore[operator]
    assert all(isinstance(seen(subject, LENSES[name]), Look) for name in ("features", "attribution", "occlusion"))


def test_names_of_flat_pictures_stand_under_them() -> None:
    model = create("mu/4", classes=3, image_size=(8, 24)).eval()
    subject = Subject(Bundle(model, Preprocess(size=(8, 24))), pictures(2, (8, 24)), ("one.png", "two.png"), shown=2)
    for name in ("attention", "features"):
        first = figure_of(LENSES[name].look(subject).drawings[0]).axes[0]
        assert (first.get_xlabel(), first.get_ylabel()) == ("one.png", "")
    square = figure_of(LENSES["attention"].look(subject_of("class token")).drawings[0])
    assert square.axes[0].get_ylabel() == "picture-0.png"


def test_every_head_of_every_layer_is_told_and_drawn() -> None:
    subject = subject_of("class token")
    look = LENSES["attention"].look(subject)
    told = np.array(look.numbers["layers_heads"])
    assert told.shape == (3, 2, 2, 3, 2)  # layers, images, heads, rows, columns
    assert told.mean(2) == pytest.approx(np.array(look.numbers["layers_heads_averaged"]), abs=2e-5)
    figure = figure_of(look.drawings[1])
    assert sum(bool(axes.images) for axes in figure.axes) == 6
    assert [axes.get_ylabel() for axes in figure.axes[::2]] == ["layer 1", "layer 2", "layer 3"]
