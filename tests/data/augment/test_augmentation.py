from __future__ import annotations

import numpy as np
import pytest
from drawn import MIDDLE, SIZES, Chosen, draws, interleaved, planes
from PIL import Image, ImageEnhance
from pydantic import ValidationError

from vitrail.data.augment import Augmentation
from vitrail.data.augment.pixels import mirrored

EVERYTHING = {"crop": "pad", "flip": 0.5, "erase": 0.5, "erase_with": "noise", "brightness": 0.4, "contrast": 0.4,
              "saturation": 0.4, "randaugment": {"layers": 2, "magnitude": 15}, "trivial_augment": True,
              "three_augment": True}


def test_boxes_are_those_of_the_chosen_kind():
    for crop in ("random-resized", "inception"):
        value = Augmentation(crop=crop)
        boxes = [value.box((600, 600), draws(sample)) for sample in range(500)]
        assert (np.median([box.height * box.width for box in boxes]) < 0.42 * 600**2) == (crop == "inception")


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
    picture = interleaved(planes())
    places = [place if name == field else 0.5 for name in ("brightness", "contrast", "saturation")]
    ours = Augmentation(**{field: 0.4}).vary(np.ascontiguousarray(picture.transpose(2, 0, 1)), MIDDLE, Chosen(*places))
    theirs = np.asarray(enhance(Image.fromarray(picture)).enhance(0.6 + 0.8 * place)).transpose(2, 0, 1)
    assert ours.dtype == np.uint8
    assert np.abs(ours.astype(int) - theirs).max() <= 2


def test_the_three_color_changes_follow_each_other():
    picture = np.clip(interleaved(planes()), 60, 180)  # nothing is cut off on the way, to compare the order
    value = Augmentation(brightness=0.2, contrast=0.3, saturation=0.4)
    ours = value.vary(np.ascontiguousarray(picture.transpose(2, 0, 1)), MIDDLE, Chosen(0.1, 0.2, 0.9))
    image = ImageEnhance.Brightness(Image.fromarray(picture)).enhance(0.84)
    image = ImageEnhance.Color(ImageEnhance.Contrast(image).enhance(0.82)).enhance(1.32)
    assert np.abs(ours.astype(int) - np.asarray(image).transpose(2, 0, 1)).max() <= 3


@pytest.mark.parametrize("size", SIZES)
def test_a_picture_of_any_size_survives_everything(size):
    value = Augmentation(**EVERYTHING | {"flip": 1, "erase": 1})
    for sample in range(20):
        result = value.vary(planes(*size), MIDDLE, draws(sample))
        assert (result.dtype, result.shape) == (np.uint8, (3, *size))
        assert result.flags.c_contiguous


def test_it_depends_on_nothing_but_the_key():
    value = Augmentation(**EVERYTHING)
    once = value.vary(planes(), MIDDLE, draws(5))
    assert np.array_equal(once, value.vary(planes(), MIDDLE, draws(5)))
    assert once.flags.c_contiguous
    for other in (draws(6), draws(5, epoch=1), draws(5, seed=1)):
        assert not np.array_equal(once, value.vary(planes(), MIDDLE, other))


def test_nothing_happens_by_default():
    assert np.array_equal(Augmentation().vary(planes(), MIDDLE, Chosen()), planes())


@pytest.mark.parametrize(("wrong", "message"), [
    ({"crop": "middle"}, "random-resized"), ({"flip": 1.5}, "less than or equal to 1"), ({"flip": -0.1}, "greater"),
    ({"area": (0.5, 0.1)}, "runs backwards"), ({"ratio": (2, 1)}, "runs backwards"),
    ({"area": (0, 1)}, "greater than 0"),
    ({"pad": 0}, "greater than 0"), ({"pad": 0.9}, "less than"), ({"brightness": float("nan")}, "finite|less"),
    ({"hue": 0.1}, "hue"), ({"erase_with": "black"}, "noise"), ({"mixup": -0.1}, "greater"),
    ({"cutmix": float("inf")}, "finite|less"), ({"mix_group": 1}, "greater"), ({"randaugment": {"n": 2}}, "n"),
    ({"trivial_augment": "often"}, "bool"),
])
def test_wrong_values_are_named(wrong, message):
    with pytest.raises(ValidationError, match=message):
        Augmentation(**wrong)


def test_it_survives_json():
    value = Augmentation(**EVERYTHING, area=(0.2, 0.9), mixup=0.2, cutmix=1.0)
    assert Augmentation.model_validate_json(value.model_dump_json()) == value


def test_what_older_versions_wrote_is_read():
    written = """{"crop": "random-resized", "pad": 0.125, "area": [0.5, 1.0], "ratio": [0.8, 1.25], "flip": 0.5,
                  "erase": 0.0, "brightness": 0.0, "contrast": 0.0, "saturation": 0.0}"""
    assert Augmentation.model_validate_json(written) == Augmentation(
        crop="random-resized", area=(0.5, 1.0), ratio=(0.8, 1.25), flip=0.5)


def test_old_settings_give_the_same_bytes_as_ever():
    """Recorded before there was anything else to draw (2026-11-25)."""
    value = Augmentation(crop="pad", flip=0.5, erase=0.5, brightness=0.4, contrast=0.4, saturation=0.4)
    picture = np.arange(3 * 12 * 10).astype(np.uint8).reshape(3, 12, 10)
    sums = [int(value.vary(picture.copy(), MIDDLE, draws(sample)).astype(int).sum()) for sample in range(4)]
    assert sums == [32748, 32957, 38656, 45261]


@pytest.mark.parametrize("width", [*range(1, 18), 224])
def test_a_mirrored_picture_is_dense_and_new(width: int) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (3, 5, width), np.uint8)
    for given in (pixels, np.repeat(pixels, 2, 1)[:, ::2]):
        found = mirrored(given)
        np.testing.assert_array_equal(found, pixels[:, :, ::-1])
        assert found.flags.c_contiguous
        assert all(stride > 0 for stride in found.strides)
        assert not np.shares_memory(found, given)
