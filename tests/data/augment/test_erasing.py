from __future__ import annotations

import numpy as np
import pytest
from drawn import SIZES, Chosen, draws, planes
from scipy.stats import chisquare

from vitrail.data.augment.erasing import cutout, erase, noise


def test_erasing_paints_a_rectangle() -> None:
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


def test_noise_is_painted_in_the_same_rectangle() -> None:
    for sample in range(20):
        plain, noisy = np.full((3, 40, 60), 7, np.uint8), np.full((3, 40, 60), 7, np.uint8)
        erase(plain, (1, 1, 1), draws(sample))
        erase(noisy, None, draws(sample))
        assert (noisy[plain == 7] == 7).all()
        assert (noisy[plain == 255] != 7).mean() > 0.9


def test_noise_has_all_values_alike_and_another_draw_has_another() -> None:
    values = noise(100, 99, draws(0))
    assert chisquare(np.bincount(values.ravel(), minlength=256)).pvalue > 0.001
    assert np.array_equal(values, noise(100, 99, draws(0)))
    assert not np.array_equal(values, noise(100, 99, draws(1)))
    assert values[0, 0, :4].tolist() == [221, 79, 129, 182]  # the same on every machine and with every NumPy


@pytest.mark.parametrize(("row", "column"), [(0, 0), (10, 20), (23, 31)])
@pytest.mark.parametrize("reach", [0, 1, 8, 100])
def test_cutout_is_a_square_around_a_place(row: int, column: int, reach: int) -> None:
    pixels = planes()
    cut = cutout(pixels, reach, 128, Chosen((row + 0.5) / 24, (column + 0.5) / 32))
    rows, columns = np.mgrid[0:24, 0:32]
    inside = (rows >= row - reach) & (rows < row + reach) & (columns >= column - reach) & (columns < column + reach)
    assert (cut[:, inside] == 128).all()
    assert np.array_equal(cut[:, ~inside], pixels[:, ~inside])


@pytest.mark.parametrize("size", SIZES)
def test_pictures_of_any_size_survive(size: tuple[int, int]) -> None:
    for sample in range(20):
        pixels = planes(*size)
        erase(pixels, None, draws(sample))
        assert cutout(pixels, 40, 128, draws(sample)).shape == pixels.shape
