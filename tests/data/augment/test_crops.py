from __future__ import annotations

import numpy as np
import pytest
from drawn import draws, planes
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import chisquare, ks_2samp

from vitrail.data.augment.crops import MARGIN, inception_box, moved, resized_box, simple_crop

AREA, RATIO = (0.05, 1.0), (0.75, 1.33)
BOXES = [resized_box, inception_box]


@pytest.mark.parametrize("way", BOXES)
@settings(max_examples=200, deadline=None)
@given(st.integers(1, 3000), st.integers(1, 3000), st.integers(0, 10**6))
def test_boxes_lie_inside_the_picture(way, height, width, sample):
    box = way((height, width), AREA, RATIO, draws(sample))
    assert 0 <= box.top <= box.top + box.height <= height
    assert 0 <= box.left <= box.left + box.width <= width
    assert box.height >= 1
    assert box.width >= 1


@pytest.mark.parametrize("way", BOXES)
def test_boxes_have_the_asked_areas_and_shapes(way):
    boxes = np.array([way((600, 600), AREA, (3 / 4, 4 / 3), draws(sample)) for sample in range(3000)])
    areas, ratios = boxes[:, 2] * boxes[:, 3] / 600**2, boxes[:, 3] / boxes[:, 2]
    assert areas.min() > 0.049
    assert areas.max() <= 1
    assert ratios.min() > 0.74
    assert ratios.max() < 1.35
    assert abs(np.mean(boxes[:, 1] + boxes[:, 3] / 2) - 300) < 10


def test_one_way_draws_the_area_evenly_and_the_other_the_side():
    """Of boxes small enough to fit whatever their shape, so that none is refused."""
    bins = 10
    areas = [box.height * box.width / 1000**2 for box in
             (resized_box((1000, 1000), (0.1, 0.7), RATIO, draws(sample)) for sample in range(4000))]
    assert chisquare(np.histogram(areas, bins, (0.1, 0.7))[0]).pvalue > 0.001
    low, high = 0.1**0.5, 0.7**0.5
    sides = [(box.height * box.width) ** 0.5 / 1000 for box in
             (inception_box((1000, 1000), (0.1, 0.7), RATIO, draws(sample)) for sample in range(4000))]
    assert chisquare(np.histogram(sides, bins, (low, high))[0][1:-1]).pvalue > 0.001  # the ends are rounded away
    assert chisquare(np.histogram(areas, bins, (low**2, high**2))[0]).pvalue > 0.001
    assert chisquare(np.histogram(np.square(sides), bins, (0.1, 0.7))[0]).pvalue < 1e-6


@pytest.mark.parametrize("size", [(300, 400), (400, 150)])
def test_inception_boxes_are_distributed_as_those_of_tensorflow(size, golden_randaugment):
    theirs = golden_randaugment[f"boxes/{size[0]}x{size[1]}"].astype(int)
    ours = np.array([inception_box(size, AREA, RATIO, draws(sample)) for sample in range(2000)])
    torchvisions = np.array([resized_box(size, AREA, RATIO, draws(sample)) for sample in range(2000)])
    for measure in (lambda box: box[:, 0], lambda box: box[:, 1], lambda box: box[:, 2] * box[:, 3],
                    lambda box: box[:, 3] / box[:, 2]):
        assert ks_2samp(measure(ours), measure(theirs)).pvalue > 0.01
    area = torchvisions[:, 2] * torchvisions[:, 3]
    assert ks_2samp(area, theirs[:, 2] * theirs[:, 3]).pvalue < 1e-6  # the test can tell them apart
    for boxes in (ours, theirs):  # the oddity of the original
        smaller = boxes[:, 2] < size[0]
        assert (boxes[smaller, 0] + boxes[smaller, 2]).max() == size[0] - 1


def test_a_picture_that_no_box_fits_gives_its_middle_or_all_of_it():
    assert resized_box((100, 1000), (1, 1), (3 / 4, 4 / 3), draws(0)) == (0, 433, 100, 133)
    assert resized_box((1000, 100), (1, 1), (3 / 4, 4 / 3), draws(0)) == (433, 0, 133, 100)
    assert inception_box((100, 1000), (1, 1), RATIO, draws(0)) == (0, 0, 100, 1000)
    assert inception_box((1, 1), AREA, RATIO, draws(0)) == (0, 0, 1, 1)


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


@pytest.mark.parametrize(("given_size", "size"), [((24, 40), (24, 24)), ((24, 24), (24, 24)), ((8, 5), (5, 5)),
                                                  ((2, 3), (2, 2)), ((1, 1), (1, 1))])
def test_a_simple_crop_is_mirroring_the_edge_and_cropping(given_size, size):
    picture = planes(*given_size)
    padded = np.pad(picture, ((0, 0), (MARGIN,) * 2, (MARGIN,) * 2), mode="reflect" if min(given_size) > 1 else "edge")
    rows, columns = (side + 2 * MARGIN - wanted + 1 for side, wanted in zip(given_size, size, strict=True))
    possible = {padded[:, top:top + size[0], left:left + size[1]].tobytes()
                for top in range(rows) for left in range(columns)}
    seen = {simple_crop(picture, size, draws(sample)).tobytes() for sample in range(3000)}
    assert seen == possible
