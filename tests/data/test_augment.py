from __future__ import annotations

import numpy as np
import pytest
from hostile import noise
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageEnhance
from pydantic import ValidationError

from vitrail.data.augment import Augmentation, erase, moved
from vitrail.data.order import AUGMENT, Draws

MIDDLE = (0.5, 0.5, 0.5)


class Chosen(Draws):
    """Draws that give what a test wants: places between low and high, 0 to 1."""

    def __init__(self, *places: float) -> None:
        self.places = list(places)

    def uniform(self, low: float = 0.0, high: float = 1.0) -> float:
        return low + (high - low) * self.places.pop(0)


def draws(sample: int, epoch: int = 0, seed: int = 0) -> Draws:
    return Draws(AUGMENT, seed, epoch, sample)


def planes(height: int = 24, width: int = 32) -> np.ndarray:
    return np.ascontiguousarray(noise(height, width).transpose(2, 0, 1))


@settings(max_examples=200, deadline=None)
@given(st.integers(1, 3000), st.integers(1, 3000), st.integers(0, 10**6))
def test_boxes_lie_inside_the_picture(height, width, sample):
    box = Augmentation(crop="random-resized").box((height, width), draws(sample))
    assert 0 <= box.top <= box.top + box.height <= height
    assert 0 <= box.left <= box.left + box.width <= width
    assert box.height >= 1
    assert box.width >= 1


def test_boxes_have_the_asked_areas_and_shapes():
    value = Augmentation(crop="random-resized")
    boxes = [value.box((600, 600), draws(sample)) for sample in range(3000)]
    areas = np.array([box.height * box.width for box in boxes]) / 600**2
    ratios = np.array([box.width / box.height for box in boxes])
    assert areas.min() > 0.049
    assert areas.max() <= 1
    assert 0.45 < areas.mean() < 0.53  # 0.525 less those that did not fit
    assert ratios.min() > 0.74
    assert ratios.max() < 1.35
    assert abs(np.median(ratios) - 1) < 0.03
    assert abs(np.mean([box.left + box.width / 2 for box in boxes]) - 300) < 10


def test_a_picture_that_no_box_fits_gives_its_middle():
    box = Augmentation(crop="random-resized", area=(1, 1)).box((100, 1000), draws(0))
    assert box == (0, 433, 100, 133)
    assert Augmentation(crop="random-resized", area=(1, 1)).box((1000, 100), draws(0)) == (433, 0, 133, 100)


@settings(max_examples=50, deadline=None)
@given(st.integers(0, 10**6), st.sampled_from([(28, 28), (24, 32), (5, 3), (1, 1)]), st.sampled_from([0.125, 0.3]))
def test_moving_is_padding_with_the_edge_and_cropping(sample, size, pad):
    picture = planes(*size)
    most = [int(side * pad + 0.5) for side in size]
    padded = np.pad(picture, ((0, 0), (most[0],) * 2, (most[1],) * 2), mode="edge")
    again = draws(sample)
    down, across = again.integer(2 * most[0] + 1), again.integer(2 * most[1] + 1)
    expected = padded[:, down:down + size[0], across:across + size[1]]
    assert np.array_equal(moved(picture, pad, draws(sample)), expected)


def test_all_moves_happen():
    picture = np.zeros((3, 28, 28), np.uint8)
    picture[:, 14, 14] = 255
    places = {tuple(int(at[0]) for at in np.nonzero(moved(picture, 0.125, draws(sample))[0])) for sample in range(2000)}
    assert places == {(row, column) for row in range(10, 19) for column in range(10, 19)}


def test_flips():
    picture = planes()
    always, never, half = (Augmentation(flip=flip) for flip in (1, 0, 0.5))
    assert np.array_equal(always.vary(picture.copy(), MIDDLE, draws(0)), picture[:, :, ::-1])
    assert np.array_equal(never.vary(picture.copy(), MIDDLE, draws(0)), picture)
    results = [half.vary(picture.copy(), MIDDLE, draws(sample)) for sample in range(1000)]
    flipped = sum(not np.array_equal(result, picture) for result in results)
    assert 430 < flipped < 570


@pytest.mark.parametrize(("field", "enhance"), [
    ("brightness", ImageEnhance.Brightness), ("contrast", ImageEnhance.Contrast), ("saturation", ImageEnhance.Color)])
@pytest.mark.parametrize("place", [0.0, 0.3, 1.0])
def test_colors_change_as_in_pillow(field, enhance, place):
    picture = noise()
    places = [place if name == field else 0.5 for name in ("brightness", "contrast", "saturation")]
    ours = Augmentation(**{field: 0.4}).vary(np.ascontiguousarray(picture.transpose(2, 0, 1)), MIDDLE, Chosen(*places))
    theirs = np.asarray(enhance(Image.fromarray(picture)).enhance(0.6 + 0.8 * place)).transpose(2, 0, 1)
    assert ours.dtype == np.uint8
    assert np.abs(ours.astype(int) - theirs).max() <= 2


def test_the_three_color_changes_follow_each_other():
    picture = np.clip(noise(), 60, 180)  # nothing is clipped on the way, so that the order can be compared
    value = Augmentation(brightness=0.2, contrast=0.3, saturation=0.4)
    ours = value.vary(np.ascontiguousarray(picture.transpose(2, 0, 1)), MIDDLE, Chosen(0.1, 0.2, 0.9))
    image = ImageEnhance.Brightness(Image.fromarray(picture)).enhance(0.84)
    image = ImageEnhance.Color(ImageEnhance.Contrast(image).enhance(0.82)).enhance(1.32)
    assert np.abs(ours.astype(int) - np.asarray(image).transpose(2, 0, 1)).max() <= 3


def test_erasing_paints_a_rectangle():
    areas = []
    for sample in range(300):
        picture = np.full((3, 40, 60), 7, np.uint8)
        erase(picture, (0, 0.5, 1), draws(sample))
        painted = picture[2] == 255
        assert painted.any(axis=1).sum() * painted.any(axis=0).sum() == painted.sum()
        assert (picture[:, painted] == np.array([[0], [128], [255]])).all()
        areas.append(painted.mean())
    assert min(areas) > 0.015
    assert max(areas) < 0.36
    assert 0.12 < np.mean(areas) < 0.24


def test_a_picture_of_one_pixel_survives_everything():
    value = Augmentation(crop="pad", flip=1, erase=1, brightness=1, contrast=1, saturation=1)
    assert value.vary(np.full((3, 1, 1), 200, np.uint8), MIDDLE, draws(3)).shape == (3, 1, 1)


def test_it_depends_on_nothing_but_the_key():
    value = Augmentation(crop="pad", flip=0.5, erase=0.5, brightness=0.4, contrast=0.4, saturation=0.4)
    once = value.vary(planes(), MIDDLE, draws(5))
    assert np.array_equal(once, value.vary(planes(), MIDDLE, draws(5)))
    assert once.flags.c_contiguous
    for other in (draws(6), draws(5, epoch=1), draws(5, seed=1)):
        assert not np.array_equal(once, value.vary(planes(), MIDDLE, other))


def test_nothing_happens_by_default():
    assert np.array_equal(Augmentation().vary(planes(), MIDDLE, Chosen()), planes())


@pytest.mark.parametrize(("wrong", "message"), [
    ({"crop": "inception"}, "random-resized"), ({"flip": 1.5}, "less than or equal to 1"), ({"flip": -0.1}, "greater"),
    ({"area": (0.5, 0.1)}, "runs backwards"), ({"ratio": (2, 1)}, "runs backwards"),
    ({"area": (0, 1)}, "greater than 0"),
    ({"pad": 0}, "greater than 0"), ({"pad": 0.9}, "less than"), ({"brightness": float("nan")}, "finite|less"),
    ({"hue": 0.1}, "hue"),
])
def test_wrong_values_are_named(wrong, message):
    with pytest.raises(ValidationError, match=message):
        Augmentation(**wrong)


def test_it_survives_json():
    value = Augmentation(crop="random-resized", area=(0.2, 0.9), flip=0.5, erase=0.25)
    assert Augmentation.model_validate_json(value.model_dump_json()) == value
