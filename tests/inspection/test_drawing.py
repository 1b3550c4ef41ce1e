"""Figures of two models share their axes, where they have any."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
import pytest

from vitrail.inspection.drawing import figure_of, framed, on_equal_axes
from vitrail.inspection.lens import Drawing


def lines(figure: Any, top: float) -> None:
    left, right = figure.subplots(1, 2)
    left.plot([0, 1], [0, top])
    right.imshow([[0, top]])


def drawing(top: float, draw: Any = lines) -> Drawing:
    return Drawing("two", partial(draw, top=top), 4, 2, "a line and a picture")


def test_lines_span_what_any_of_them_needs_and_pictures_stay() -> None:
    alone, alike = figure_of(drawing(1)), [figure_of(one) for one in on_equal_axes([drawing(1), drawing(100)])]
    assert alone.axes[0].get_ylim()[1] < 2
    assert alike[0].axes[0].get_ylim() == alike[1].axes[0].get_ylim() == figure_of(drawing(100)).axes[0].get_ylim()
    assert alike[0].axes[1].get_xlim() == alone.axes[1].get_xlim()


def test_figures_of_other_kinds_stay_as_they_are() -> None:
    single = drawing(100, lambda figure, top: figure.subplots().plot([0, top]))
    first, second = on_equal_axes([drawing(1), single])
    assert figure_of(first).axes[0].get_ylim() == figure_of(drawing(1)).axes[0].get_ylim()
    assert len(figure_of(second).axes) == 1


def test_a_frame_around_one_patch_and_nothing_else() -> None:
    image = np.full((24, 36, 3), 100, np.uint8)
    changed = (framed(image, (1, 2), (3, 4)) != image).any(-1)
    rows, columns = np.nonzero(changed)
    assert (rows.min(), rows.max(), columns.min(), columns.max()) == (8, 15, 18, 26)
    assert not changed[10:14, 20:25].any()
    assert (image == 100).all()


@pytest.mark.parametrize("side", [1, 2, 3])
@pytest.mark.parametrize("place", [(0, 0), (5, 7), (223, 223)])
def test_a_frame_stays_within_a_patch_of_a_few_pixels(side: int, place: tuple[int, int]) -> None:
    image = np.full((224 * side, 224 * side, 3), 100, np.uint8)
    rows, columns = np.nonzero((framed(image, place, (224, 224)) != image).any(-1))
    assert (rows.min() // side, columns.min() // side) == (rows.max() // side, columns.max() // side) == place
