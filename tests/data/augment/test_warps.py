"""Against Pillow, whose pixels have their middle at one half, and against a plain statement of TensorFlow's rule."""

from __future__ import annotations

import math

import numpy as np
import pytest
from drawn import SIZES, interleaved, planes
from PIL import Image

from vitrail.data.augment.warps import rotated, sheared_x, sheared_y, translated, warped

GREY = 128


def by_pillow(pixels: np.ndarray, a: float, b: float, c: float, d: float, e: float, f: float) -> np.ndarray:
    """The same look-up in Pillow's coordinates: it looks at places + 1/2 and cuts off what is behind the point."""
    coefficients = (a, b, c + 0.5 - (a + b) / 2, d, e, f + 0.5 - (d + e) / 2)
    image = Image.fromarray(interleaved(pixels))
    warp = image.transform(image.size, Image.Transform.AFFINE, coefficients, fillcolor=(GREY,) * 3)
    return np.asarray(warp).transpose(2, 0, 1)


def differing(pixels: np.ndarray, others: np.ndarray) -> float:
    return float((pixels != others).any(axis=0).mean())


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("level", [-0.6071, -0.3017, -0.1513, 0.0, 0.0907, 0.3017, 0.9871])
def test_shears_equal_pillows_shifted_by_half_of_the_level(size: tuple[int, int], level: float) -> None:
    """Levels without halves, which Pillow decides by its 1/65536 of a pixel. The test after the next has halves."""
    pixels = planes(*size)
    assert differing(sheared_x(pixels, level, GREY), by_pillow(pixels, 1, level, 0, 0, 1, 0)) == 0
    assert differing(sheared_y(pixels, level, GREY), by_pillow(pixels, 1, 0, 0, level, 1, 0)) == 0


@pytest.mark.parametrize("size", [(24, 32), (25, 31), (64, 48)])
@pytest.mark.parametrize("degrees", [-133, -30, -12, 0, 7, 33, 90, 119])
def test_rotation_equals_pillows(size: tuple[int, int], degrees: float) -> None:
    """But for places on the edge between two pixels."""
    pixels = planes(*size)
    image = Image.fromarray(interleaved(pixels))
    wanted = np.asarray(image.rotate(degrees, fillcolor=(GREY,) * 3)).transpose(2, 0, 1)
    assert differing(rotated(pixels, degrees, GREY), wanted) <= 0.01


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("matrix", [
    (1, 0.3, 0, 0, 1, 0), (1, 0, 0, -0.5, 1, 0), (1, -0.5, 0, 0, 1, 0), (0.8, -0.6, 3, 0.6, 0.8, -4),
    (1, 0, 0.5, 0, 1, -0.5), (1, 0, 1e4, 0, 1, -1e4)])
def test_every_place_shows_the_nearest_pixel(size: tuple[int, int], matrix: tuple[float, ...]) -> None:
    """Halves away from zero, so that -1/2 is outside."""
    pixels = planes(*size)
    _, height, width = pixels.shape
    a, b, c, d, e, f = map(np.float32, matrix)
    expected = np.full_like(pixels, GREY)
    for y in range(height):
        for x in range(width):
            places = a * np.float32(x) + b * np.float32(y) + c, d * np.float32(x) + e * np.float32(y) + f
            column, row = (int(math.copysign(math.floor(abs(place) + 0.5), place)) for place in places)
            if 0 <= column < width and 0 <= row < height:
                expected[:, y, x] = pixels[:, row, column]
    assert np.array_equal(warped(pixels, matrix, GREY), expected)


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize(("right", "down"), [(0, 0), (5, 0), (-5, 0), (0, 1), (0, -1), (3, -2), (200, 0), (0, -200)])
def test_translation_is_a_warp_without_a_turn(size: tuple[int, int], right: int, down: int) -> None:
    pixels = planes(*size)
    moved = translated(pixels, right, down, GREY)
    assert np.array_equal(moved, warped(pixels, (1, 0, right, 0, 1, down), GREY))
    assert np.array_equal(moved, by_pillow(pixels, 1, 0, right, 0, 1, down))
