"""Error against compute, family by family, as in the paper's figure 5."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from vitrail.inspection.drawing import tidy
from vitrail.studies.compute.answers import Answers
from vitrail.studies.compute.frontier import CALLED, Family
from vitrail.studies.drawing import Style, band, legend, logarithmic, style
from vitrail.studies.numerals import Unit, capital

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

PLACES = 40
LOWEST = 1e-4
"""Error at which a run without any is drawn."""


def draw(canvas: Figure, told: Answers, error: str) -> None:
    """`error`: what the vertical axis says."""
    axes = canvas.subplots()
    for family in told.families:
        if family.trained:
            draw_family(axes, family, told.unit)
    logarithmic(axes)
    tidy(axes, f"compute of training, {told.unit.name}", error)
    legend(axes)


def draw_family(axes: Axes, family: Family, unit: Unit) -> None:
    """All its settings hollow, those of the frontier full, the curve through these with its band."""
    look = style(list(CALLED).index(family.name))
    on = set(family.frontier)
    off = [one for one in family.trained if one not in on]
    axes.plot([one.exaflops / unit.exaflops for one in off], [percents(one.error) for one in off],
              marker=look.marker, linestyle="", markersize=5, markerfacecolor="none", markeredgecolor=look.color,
              alpha=0.75)
    axes.plot([one.exaflops / unit.exaflops for one in family.frontier],
              [percents(one.error) for one in family.frontier], marker=look.marker, linestyle="", markersize=6.5,
              color=look.color, zorder=3)
    axes.plot([], [], marker=look.marker, linestyle=look.dash if family.posterior else "", color=look.color,
              markersize=6.5, label=capital(family.called))
    if family.posterior is not None:
        draw_curve(axes, family, look, unit)


def draw_curve(axes: Axes, family: Family, look: Style, unit: Unit) -> None:
    places = np.geomspace(family.curve.x[0], family.curve.x[-1], PLACES)
    said = [family.fitted.predict(float(at)) for at in places]
    band(axes, places / unit.exaflops, [percents(one.low) for one in said], [percents(one.high) for one in said], look)
    axes.plot(places / unit.exaflops, [percents(one.expected) for one in said], linestyle=look.dash, color=look.color,
              linewidth=1.3)


def percents(error: float) -> float:
    return 100 * max(error, LOWEST)
