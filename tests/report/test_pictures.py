from __future__ import annotations

import base64
import io

import numpy as np
import pytest
from PIL import Image

from vitrail.inspection.drawing import GLASS, LEAD, glass, light, sheet
from vitrail.report.pictures import BARS, Picture, filter_sheet, grid_of_grids, heat_map, lit, thumbnail, window


def pixels(picture: Picture) -> np.ndarray:
    kind, data = picture.address.split(";base64,")
    assert kind in ("data:image/png", "data:image/jpeg")
    opened = np.asarray(Image.open(io.BytesIO(base64.b64decode(data))))
    assert opened.shape == (picture.height, picture.width, 3)
    return opened


def test_a_small_image_is_kept_pixel_for_pixel() -> None:
    raw = np.random.default_rng(0).integers(0, 256, (3, 28, 20), dtype=np.uint8)
    picture = thumbnail(raw)
    assert picture.pixelated
    assert np.array_equal(pixels(picture), raw.transpose(1, 2, 0))


def test_a_photograph_becomes_small() -> None:
    picture = thumbnail(np.full((3, 224, 448), 90, np.uint8))
    assert (picture.width, picture.height, picture.pixelated) == (144, 72, False)
    assert np.abs(pixels(picture).astype(int) - 90).max() <= 2


def test_the_window_has_a_pane_for_each_patch() -> None:
    raw = np.zeros((3, 8, 12), np.uint8)
    raw[:, 4:, 8:] = 200
    opened = pixels(window(raw, (4, 4), side=90))
    pane = 28
    assert opened.shape == (2 * (pane + 2) + 2, 3 * (pane + 2) + 2, 3)
    assert (opened[:2] == BARS).all()
    assert (opened[-2 - pane : -2, -2 - pane : -2] == 200).all()
    assert (opened[2 : 2 + pane, 2 : 2 + pane] == 0).all()


@pytest.mark.parametrize(("size", "patch"), [((224, 224), (16, 16)), ((16, 64), (16, 8)), ((512, 512), (2, 2))])
def test_windows_of_any_shape(size: tuple[int, int], patch: tuple[int, int]) -> None:
    picture = window(np.zeros((3, *size), np.uint8), patch)
    assert max(picture.width, picture.height) < 2100
    assert len(picture.address) < 1_000_000


def test_a_sheet_in_rows() -> None:
    tiles = [np.full((2, 3, 3), value, np.uint8) for value in (10, 20, 30)]
    canvas = sheet(tiles, 2, 1, LEAD)
    assert canvas.shape == (7, 9, 3)
    assert (canvas[1, 1], canvas[1, 5], canvas[4, 1]) == (pytest.approx(10), pytest.approx(20), pytest.approx(30))
    assert tuple(canvas[4, 5]) == LEAD


def test_the_color_scale_gets_lighter_all_the_way() -> None:
    colors = glass(np.linspace(0, 1, 64)).astype(float)
    assert colors[0].tolist() == GLASS[0].tolist()
    assert colors[-1].tolist() == GLASS[-1].tolist()
    assert (np.diff(colors @ [0.2126, 0.7152, 0.0722]) > 0).all()


def test_light_falls_where_the_attention_is() -> None:
    shares = np.zeros((4, 4), np.float32)
    shares[0, 3] = 0.9
    opened = pixels(lit(np.full((3, 32, 32), 100, np.uint8), shares)).astype(float).mean(-1)
    assert opened[:32, -32:].mean() > 2 * opened[64:, :64].mean()


def test_light_is_weak_where_little_stands_out() -> None:
    assert light(np.array([[1.0, 2.0, 3.0]])).tolist() == [[0, 0.5, 1]]
    assert light(np.array([[0.9, 1.0]])).tolist() == [[0, pytest.approx(0.2)]]
    assert light(np.array([[0.2, 0.2]])).tolist() == [[0, 0]]
    assert light(np.zeros((1, 2))).tolist() == [[0, 0]]


def test_filters_and_grids_of_any_number() -> None:
    assert pixels(filter_sheet(np.full((28, 4, 4, 3), 0.5, np.float32)))[4, 4].tolist() == [128, 128, 128]
    pixels(filter_sheet(np.zeros((1, 16, 16, 1), np.float32)))
    assert pixels(grid_of_grids(np.zeros((1, 1, 1, 1), np.float32))).size
    assert max(pixels(grid_of_grids(np.zeros((40, 30, 40, 30), np.float32))).shape) < 800


def test_the_heat_map_has_a_pixel_for_each_cell() -> None:
    opened = pixels(heat_map(np.array([[4, 0], [0, 0]])))
    assert opened[0, 0].tolist() == GLASS[-1].tolist()
    assert opened[1].tolist() == [GLASS[0].tolist()] * 2
