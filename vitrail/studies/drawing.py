"""What the figures of all studies have alike: lines that are told apart without color, and axes in numbers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from vitrail.inspection.drawing import in_numbers

if TYPE_CHECKING:
    from matplotlib.axes import Axes


WHOLE = 100.0


class Style(NamedTuple):
    color: str
    marker: str
    dash: Any


STYLES = (Style("#2553a3", "o", "-"), Style("#b5274a", "s", "--"), Style("#23795a", "^", "-."),
          Style("#c9821b", "D", ":"), Style("#6a3d9e", "v", (0, (5, 1))))


def style(number: int) -> Style:
    return STYLES[number % len(STYLES)]


def band(axes: Axes, x: Sequence[float] | np.ndarray, low: Sequence[float], high: Sequence[float], look: Style) -> None:
    """Where something lies, in percent; its edges are dashed as its line, so that bands which overlap are told apart
    without color. Nothing is above all."""
    top = np.minimum(high, WHOLE)
    axes.fill_between(x, low, top, color=look.color, alpha=0.13, linewidth=0)
    for edge in (low, top):
        axes.plot(x, edge, linestyle=look.dash, color=look.color, linewidth=0.5, alpha=0.6)


def legend(axes: Axes) -> None:
    """With room enough for dashes to be seen."""
    axes.legend(frameon=False, handlelength=3.4)


def logarithmic(axes: Axes) -> None:
    """Both axes, with numbers on them; the vertical one is in percent, and ends where there is no more."""
    axes.set_xscale("log")
    axes.set_yscale("log")
    axes.set_ylim(top=min(axes.get_ylim()[1], 1.1 * WHOLE))
    in_numbers(axes, both=True)
    axes.grid(axis="x", linewidth=0.4, color="#8886", zorder=0)
