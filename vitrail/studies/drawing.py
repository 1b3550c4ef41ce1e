"""What the figures of all studies have alike: lines that are told apart without color, and axes in numbers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from vitrail.inspection.drawing import in_numbers

if TYPE_CHECKING:
    from matplotlib.axes import Axes


class Style(NamedTuple):
    color: str
    marker: str
    dash: Any


STYLES = (Style("#2553a3", "o", "-"), Style("#b5274a", "s", "--"), Style("#23795a", "^", "-."),
          Style("#c9821b", "D", ":"), Style("#6a3d9e", "v", (0, (5, 1))))


def style(number: int) -> Style:
    return STYLES[number % len(STYLES)]


def logarithmic(axes: Axes) -> None:
    """Both axes, with numbers on them."""
    axes.set_xscale("log")
    axes.set_yscale("log")
    in_numbers(axes, both=True)
    axes.grid(axis="x", linewidth=0.4, color="#8886", zorder=0)
