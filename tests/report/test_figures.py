from __future__ import annotations

import html.parser
import math
import re
import subprocess
import sys

import numpy as np
import pytest

from vitrail.report.figures import MOST_POINTS, Line, learning_curves, read, running_mean, thinned


def rows(count: int) -> list[dict[str, float]]:
    return [{"step": i, "samples": 64 * i, "train/loss": 3 / i, "train/top1": 1 - 1 / i, "train/learning_rate": 1e-3}
            for i in range(1, count + 1)]


def test_a_panel_for_each_kind_of_number_that_is_there() -> None:
    assert len(learning_curves([*rows(3), {"step": 3, "samples": 192, "val/loss": 1.0, "val/top1": 0.5}])) == 3
    assert len(learning_curves([{"step": 1, "val/mean_average_precision": 0.5}])) == 1
    assert learning_curves([]) == []
    assert learning_curves([{"step": 1, "samples": 2}]) == []


def test_a_column_skips_what_is_no_number_and_is_in_order_of_samples() -> None:
    history = [{"samples": 30, "val/loss": 1}, {"samples": 10, "val/loss": 3.0}, {"samples": 20, "val/loss": math.nan},
               {"samples": 20, "val/loss": None}, {"samples": 20, "val/loss": "low"}, {"samples": 20}]
    line = read(history, "val/loss")
    assert line is not None
    assert line.samples.tolist() == [10, 30]
    assert line.values.tolist() == [3, 1]
    assert read([{"step": 7, "lr": 0.5}], "lr") is not None
    assert read([{"step": 7, "lr": math.inf}], "lr") is None


def test_long_histories_stay_small_and_keep_their_mean() -> None:
    line = Line(np.arange(10_000.0), np.sin(np.arange(10_000.0)))
    thin = thinned(line)
    assert len(thin.values) == MOST_POINTS
    assert thin.samples.mean() == pytest.approx(line.samples.mean())
    assert sum(map(len, learning_curves(rows(20_000)))) < 200_000


def test_running_mean() -> None:
    assert running_mean(np.array([0.0, 3.0, 6.0, 9.0]), 3).tolist() == [1.5, 3, 6, 7.5]


@pytest.mark.parametrize("count", [1, 2, 300])
def test_the_picture_fits_into_a_page(count: int) -> None:
    """Only the element itself, in the page's colors, with nothing from outside and no dangling reference."""
    for svg in learning_curves(rows(count)):
        assert svg.startswith("<svg")
        assert "currentColor" in svg
        assert "http" not in svg
        assert "#0101" not in svg
        assert "images seen" in svg
        defined = set(re.findall(r'\sid="([^"]+)"', svg))
        assert set(re.findall(r'(?:url\(|href=")#([^")]+)', svg)) == defined
        html.parser.HTMLParser().feed(svg)


def test_the_same_history_gives_the_same_picture() -> None:
    assert learning_curves(rows(50)) == learning_curves(rows(50))


def test_matplotlib_is_imported_only_when_a_curve_is_drawn() -> None:
    code = "import sys, vitrail.report; assert 'matplotlib' not in sys.modules and 'torchvision' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)
