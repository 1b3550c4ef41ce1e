"""Several crops of a picture: their shapes and areas, what becomes of them, and that the key alone decides it."""

from __future__ import annotations

import itertools
import math
import pickle

import numpy as np
import pytest
import torch
from hostile import noise, saved
from pydantic import ValidationError
from test_loader import split_of

from vitrail.data.augment import Augmentation, MultiCrop, colors
from vitrail.data.loader import Loader, looked_through
from vitrail.data.multi_crop import MultiCropView
from vitrail.data.order import AUGMENT, Draws, Key
from vitrail.data.preprocess import Preprocess
from vitrail.data.views import EvalView
from vitrail.vocabulary import Box

NOTHING = {"recolored": 0, "grey": 0, "blur": (0, 0, 0), "solarize": 0}


def view(flip: float = 0.5, size: int = 24, **crops: object) -> MultiCropView:
    chosen = MultiCrop.model_validate({"local": 3, "local_size": (8, 12), **crops})
    return MultiCropView(Preprocess(size=size), Augmentation(flip=flip, multi_crop=chosen))


@pytest.mark.parametrize("encoded", [saved(noise(90, 120), "JPEG"), saved(noise(90, 120), "PNG"), noise(24, 24),
                                     noise(20, 30)[:, :, 0], noise(1, 1), noise(1, 300)])
def test_crops_of_everything_have_their_size(encoded: object) -> None:
    many = view()
    assert many.shapes == {"global": (2, 3, 24, 24), "local": (3, 3, 8, 12)}
    for sample in range(5):
        looks = many.looks(encoded, "x", Key(0, 0, sample))  # type: ignore[arg-type]
        assert {name: tuple(look.shape) for name, look in looks.items()} == many.shapes
        assert all(look.dtype == torch.uint8 and look.is_contiguous() for look in looks.values())
        again = many.looks(encoded, "x", Key(0, 0, sample))  # type: ignore[arg-type]
        assert all(torch.equal(looks[name], again[name]) for name in looks)
    assert pickle.loads(pickle.dumps(many)) == many
    assert view(local=0).shapes.keys() == view(local=0).looks(noise(9, 9), "x", Key(0, 0, 0)).keys() == {"global"}


@pytest.mark.parametrize("workers", [0, 1, 3])
@pytest.mark.parametrize(("world", "start"), [(1, 6), (2, 12)])
def test_any_workers_processes_and_resume_give_the_same(workers: int, world: int, start: int) -> None:
    split = split_of([saved(noise(20, 20, seed), "JPEG") for seed in range(9)])
    many = view()
    whole = list(itertools.islice(Loader(split, many, 1, seed=1, workers=0).batches(), 30))
    for rank in range(world):
        loader = Loader(split, many, 6, seed=1, workers=workers, world=world, rank=rank)
        for batch in itertools.islice(loader.batches(start), 2):
            for row, position in enumerate(batch.positions.tolist()):
                for name in many.shapes:
                    assert torch.equal(batch.views[name][row], whole[position].views[name][0])


def test_areas_and_shapes_lie_in_their_ranges_and_fill_them() -> None:
    chosen = MultiCrop(local=2, global_area=(0.4, 1.0), local_area=(0.05, 0.4))
    boxes = [chosen.boxes((300, 400), Draws(AUGMENT, 0, 0, sample)) for sample in range(2000)]
    for crop, (low, high) in enumerate([(0.4, 1.0)] * 2 + [(0.05, 0.4)] * 2):
        areas = np.array([one[crop].height * one[crop].width / 120_000 for one in boxes])
        assert low - 0.01 < areas.min() < low + 0.03
        assert high - 0.06 < areas.max() < high + 0.01
        if crop > 1:  # nearly nothing of them is refused, so that they are even
            assert areas.mean() == pytest.approx((low + high) / 2, abs=4 * (high - low) / math.sqrt(12 * 2000))
        shapes = np.array([one[crop].width / one[crop].height for one in boxes])
        assert 0.72 < shapes.min() < 0.8
        assert 1.25 < shapes.max() < 1.37


def test_a_crop_is_the_part_of_the_picture_in_its_box() -> None:
    picture = noise(40, 50)
    many = view(flip=0, size=16, global_area=(0.1, 0.1), ratio=(1, 1), local=0, **NOTHING)
    boxes = many.augmentation.multi_crop.boxes((40, 50), Draws(AUGMENT, 0, 0, 7))
    assert isinstance(boxes[0], Box)
    looks = many.looks(picture, "x", Key(0, 0, 7))["global"]
    for box, look in zip(boxes, looks, strict=True):
        part = picture[box.top : box.top + box.height, box.left : box.left + box.width]
        assert torch.equal(look, Preprocess(size=16).apply(part))


def share(kind: str, done: str, chosen: MultiCrop, count: int = 2000) -> float:
    """How often a crop is changed."""
    pixels = np.ascontiguousarray(noise(6, 6).transpose(2, 0, 1))
    changed = [not np.array_equal(chosen.vary(pixels.copy(), kind, Draws(AUGMENT, 0, 0, sample)), pixels)  # type: ignore[arg-type]
               for sample in range(count)]
    return float(np.mean(changed))


@pytest.mark.parametrize(("setting", "expected"), [
    ({"recolored": 0.8}, (0.8, 0.8, 0.8)), ({"grey": 0.2}, (0.2, 0.2, 0.2)), ({"solarize": 0.2}, (0, 0.2, 0)),
    ({"blur": (1.0, 0.1, 0.5), "blur_radius": (0.5, 2.0)}, (1.0, 0.1, 0.5))])
def test_each_operation_is_as_frequent_as_it_should_be(setting: dict[str, object], expected: tuple[float, ...]) -> None:
    chosen = MultiCrop.model_validate(NOTHING | setting)
    for kind, wanted in zip(("first", "second", "local"), expected, strict=True):
        found = share(kind, "changed", chosen)
        assert found == pytest.approx(wanted, abs=4 * math.sqrt(wanted * (1 - wanted) / 2000) + 1e-9), kind


def test_operations_are_those_of_colors_in_their_order() -> None:
    pixels = np.ascontiguousarray(noise(12, 12).transpose(2, 0, 1))
    chosen = MultiCrop.model_validate(NOTHING | {"grey": 1, "blur": (0, 1, 0), "blur_radius": (1, 1), "solarize": 1})
    expected = colors.solarized(colors.blurred(colors.greyed(pixels), 1.0), 128)
    assert np.array_equal(chosen.vary(pixels.copy(), "second", Draws(AUGMENT, 0, 0, 0)), expected)


@pytest.mark.parametrize("workers", [0, 2])
def test_a_pass_through_a_view_is_the_same_each_time_and_by_parts(workers: int) -> None:
    """And a bad picture is left out of all looks alike."""
    split = split_of([noise(9, 9, 0), b"no picture", noise(9, 9, 2), noise(9, 9, 3)])
    many = view()
    whole = list(looked_through(split, many, 4, workers, seed=5))
    assert [one.indices.tolist() for one in whole] == [[0, 2, 3]]
    assert len(whole[0].errors) == 1
    assert {name: len(look) for name, look in whole[0].views.items()} == {"global": 3, "local": 3}
    part = next(looked_through(split, many, 4, workers, seed=5, samples=[2, 3]))
    for name in many.shapes:
        assert torch.equal(part.views[name], whole[0].views[name][1:])
        assert torch.equal(part.views[name][0], many.looks(split.read(2), "x", Key(5, 0, 2))[name])
    assert next(looked_through(split, EvalView(many.preprocess), 2, workers)).views["image"].shape == (1, 3, 24, 24)


@pytest.mark.parametrize(("given", "words"), [
    ({"local_area": (0.4, 0.05)}, "runs backwards"), ({"blur": (2, 0, 0)}, "less than or equal to 1"),
    ({"global_area": (0, 1)}, "greater than 0"), ({"local_size": 0}, "greater than or equal to 1"),
    ({"local": -1}, "greater than or equal to 0"), ({"colour": 1}, "Extra inputs"), ({"hue": 0.6}, "0.5")])
def test_settings_without_sense_are_refused(given: dict[str, object], words: str) -> None:
    with pytest.raises(ValidationError, match=words):
        MultiCrop.model_validate(given)
