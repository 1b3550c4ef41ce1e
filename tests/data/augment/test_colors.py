"""Each operation against Pillow's: equal to the bit, or with the reason why not."""

from __future__ import annotations

import colorsys
import math

import numpy as np
import pytest
from drawn import SIZES, apart, interleaved, planes
from PIL import Image, ImageEnhance, ImageOps
from scipy.ndimage import gaussian_filter

from vitrail.data.augment import colors

FACTORS = [0.0, 0.1, 0.55, 1.0, 1.3, 1.9, 2.8, 3.7]
PICTURES = [planes(*size) for size in SIZES] + [
    np.repeat(planes()[:1], 3, axis=0), np.full((3, 5, 5), 77, np.uint8), planes()[:, :, ::-1],
    np.random.default_rng(0).integers(100, 140, (3, 20, 20)).astype(np.uint8)]
pictures = pytest.mark.parametrize("pixels", PICTURES, ids=lambda pixels: "x".join(map(str, pixels.shape[1:])))


def image(pixels: np.ndarray) -> Image.Image:
    return Image.fromarray(interleaved(pixels))


def theirs(picture: Image.Image) -> np.ndarray:
    return np.asarray(picture).transpose(2, 0, 1)


@pictures
def test_they_equal_pillows_to_the_bit(pixels: np.ndarray) -> None:
    before, picture = pixels.copy(), image(pixels)
    assert apart(colors.inverted(pixels), theirs(ImageOps.invert(picture))) == 0
    assert apart(colors.autocontrasted(pixels), theirs(ImageOps.autocontrast(picture))) == 0
    assert apart(colors.equalized(pixels), theirs(ImageOps.equalize(picture))) == 0
    assert apart(colors.greyed(pixels), theirs(picture.convert("L").convert("RGB"))) == 0
    for bits in range(1, 9):
        assert apart(colors.posterized(pixels, bits), theirs(ImageOps.posterize(picture, bits))) == 0
    for threshold in (0, 1, 100, 128, 255, 256):
        assert apart(colors.solarized(pixels, threshold), theirs(ImageOps.solarize(picture, threshold))) == 0
    assert np.array_equal(pixels, before)


@pictures
@pytest.mark.parametrize("factor", FACTORS)
def test_enhancements_equal_pillows_to_the_bit(pixels: np.ndarray, factor: float) -> None:
    picture = image(pixels)
    assert apart(colors.brightened(pixels, factor), theirs(ImageEnhance.Brightness(picture).enhance(factor))) == 0
    assert apart(colors.saturated(pixels, factor), theirs(ImageEnhance.Color(picture).enhance(factor))) == 0
    middle = colors.mean_grey(pixels)
    assert apart(colors.contrasted(pixels, factor, middle), theirs(ImageEnhance.Contrast(picture).enhance(factor))) == 0


@pictures
@pytest.mark.parametrize("factor", FACTORS)
def test_sharpness_is_pillows_but_for_rounding(pixels: np.ndarray, factor: float) -> None:
    """Smoothed values are truncated here (as in TensorFlow) and rounded there, one level apart before blending."""
    wanted = theirs(ImageEnhance.Sharpness(image(pixels)).enhance(factor))
    assert apart(colors.sharpened(pixels, factor), wanted) <= math.ceil(abs(1 - factor))


@pytest.mark.parametrize("addition", [0, 55, 110, 165, 220])
def test_solarize_add_lightens_what_is_dark(addition: int) -> None:
    values = np.arange(256).reshape(1, 16, 16).repeat(3, axis=0).astype(np.uint8)
    expected = [min(value + addition, 255) if value < 128 else value for value in range(256)]
    assert colors.solarize_added(values, addition)[1].ravel().tolist() == expected


@pytest.mark.parametrize("radius", [0.1, 0.7, 1.3, 2.0])
def test_blur_is_gaussian(radius: float) -> None:
    """Pillow's is three box blurs: within 3 levels of the true one away from the border (where they continue the
    picture differently), on a picture with noise."""
    pixels = planes(40, 50)
    expected = np.stack([gaussian_filter(plane.astype(float), radius, mode="nearest") for plane in pixels])
    assert apart(colors.blurred(pixels, radius)[:, 6:-6, 6:-6], np.rint(expected)[:, 6:-6, 6:-6]) <= 3
    assert colors.blurred(pixels[:, :1, :1], radius).shape == (3, 1, 1)


def test_what_comes_out_can_be_written_to() -> None:
    """Erasing paints into it, and torch warns of arrays that cannot be written to."""
    pixels = planes()
    for changed in (colors.equalized(pixels), colors.brightened(pixels, 1.5), colors.posterized(pixels, 3),
                    colors.blurred(pixels, 1), colors.sharpened(pixels, 2), colors.greyed(pixels)):
        assert changed.flags.writeable
        assert changed.flags.c_contiguous
        assert (changed.dtype, changed.shape) == (np.uint8, pixels.shape)


def test_hues_are_turned_as_by_the_definition_within_the_rounding_of_eight_bits() -> None:
    random = np.random.default_rng(0)
    pixels = random.integers(0, 256, (3, 12, 12)).astype(np.uint8)
    for turn in (-0.5, -0.1, 0.0, 0.05, 0.3):
        found, expected = colors.hue_turned(pixels, turn), np.empty((3, 12, 12))
        for row, column in np.ndindex(12, 12):
            hue, saturation, value = colorsys.rgb_to_hsv(*(pixels[:, row, column] / 255))
            expected[:, row, column] = 255 * np.array(colorsys.hsv_to_rgb((hue + turn) % 1, saturation, value))
        assert np.abs(found - expected).max() < 12  # a step of hue is 6 / 256 of a channel's range
        assert np.abs(found - expected).mean() < 2.5
    grey = np.full((3, 4, 4), 99, np.uint8)
    assert np.array_equal(colors.hue_turned(grey, 0.3), grey)
