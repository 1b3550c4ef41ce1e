"""Learning curves as one SVG inside the page, drawn by matplotlib and colored by the page's style sheet."""

from __future__ import annotations

import io
import math
import re
from collections.abc import Mapping, Sequence
from html import escape
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from markupsafe import Markup

from vitrail.evaluation.frozen.trials import probe_name
from vitrail.inspection.drawing import FAINT, INK, drawn
from vitrail.inspection.lens import Drawing

if TYPE_CHECKING:
    from matplotlib.axes import Axes

History = Sequence[Mapping[str, Any]]

TRAIN, VALIDATION, RATE = "#010103", "#010104", "#010105"
"""Stand-ins for colors of the style sheet, as INK and FAINT are."""

STYLE = {INK: "currentColor", FAINT: "var(--faint)", TRAIN: "var(--cobalt)", VALIDATION: "var(--ruby)",
         RATE: "var(--emerald)"}

PROBED = (TRAIN, VALIDATION, RATE)

LABELS = {"train": ("training", TRAIN), "val": ("validation", VALIDATION), "test": ("test", VALIDATION)}

MOST_POINTS = 400


class Line(NamedTuple):
    samples: np.ndarray
    values: np.ndarray


PANELS = {"loss": ("train/loss", "val/loss"), "accuracy": ("train/top1", "val/top1"),
          "mean average precision": ("val/mean_average_precision",),
          "learned beyond a constant": ("train/beyond_constant",), "learning rate": ("lr", "train/learning_rate")}
"""Title of each panel and the columns of the journal in it."""

FROZEN = "accuracy of frozen features"


def learning_curves(history: History) -> list[str]:
    """Loss, accuracy and learning rate over the images seen, an <svg> each; none for columns without a number."""
    probed = tuple(dict.fromkeys(key for row in history for key in row if key.startswith("probe/")))
    found = {title: {key: line for key in keys if (line := read(history, key)) is not None}
             for title, keys in (PANELS | {FROZEN: probed}).items()}
    return [panel(title, lines) for title, lines in found.items() if lines]


def panel(title: str, lines: Mapping[str, Line]) -> str:
    from matplotlib import rc_context  # half a second to import, and only a report needs it
    from matplotlib.figure import Figure

    with rc_context({"svg.fonttype": "none", "svg.hashsalt": title, "font.family": "sans-serif", "font.size": 10}):
        figure = Figure(figsize=(3.7, 2.6), layout="constrained")
        draw_panel(figure.subplots(), title, lines)
        buffer = io.StringIO()
        figure.savefig(buffer, format="svg", transparent=True,
                       metadata={"Date": None, "Creator": None, "Format": None, "Type": None})
    return for_page(buffer.getvalue(), f"{title} over the images seen")


def draw_panel(axes: Axes, title: str, lines: Mapping[str, Line]) -> None:
    scale, unit = axis_unit(max(line.samples[-1] for line in lines.values()))
    for place, (key, line) in enumerate(lines.items()):
        name, color = LABELS.get(key.split("/")[0], (title, RATE))
        if key.startswith("probe/"):
            name, color = probe_name(key.removeprefix("probe/")), PROBED[place % len(PROBED)]
        draw_line(axes, Line(line.samples / scale, line.values), name, color)
    axes.set_xlabel(f"images seen{unit}", color=INK)
    axes.set_ylabel(title, color=INK)
    if title in ("accuracy", "mean average precision", "learned beyond a constant", FROZEN):
        axes.yaxis.set_major_formatter(lambda value, place: f"{value:.0%}".replace("%", " %"))
    if title == "learning rate":
        axes.ticklabel_format(axis="y", scilimits=(-2, 3))
        axes.yaxis.get_offset_text().set_color(INK)
    axes.tick_params(colors=INK, length=0, labelsize=9)
    axes.grid(axis="y", color=FAINT, linewidth=0.7)
    for side in axes.spines.values():
        side.set_visible(False)
    if len(lines) > 1:
        axes.legend(frameon=False, labelcolor=INK, fontsize=9)


def draw_line(axes: Axes, line: Line, name: str, color: str) -> None:
    """Many noisy points as a faint line with their running mean on top; few as dots on a line."""
    if len(line.values) <= 40:
        axes.plot(*line, color=color, label=name, linewidth=1.6, marker="o", markersize=3)
        return
    thin = thinned(line)
    axes.plot(*thin, color=color, linewidth=0.8, alpha=0.3)
    axes.plot(thin.samples, running_mean(thin.values, max(len(thin.values) // 25, 3)), color=color, label=name,
              linewidth=1.8)


def read(history: History, key: str) -> Line | None:
    """The finite values of one column over the images seen (the step, where that is not written), in that order."""
    pairs = [(row.get("samples", row.get("step", place)), row.get(key)) for place, row in enumerate(history)]
    kept = sorted((float(at), float(value)) for at, value in pairs  # type: ignore[arg-type]
                  if is_finite(at) and is_finite(value))
    return Line(*np.array(kept).T) if kept else None


def is_finite(value: object) -> bool:
    return isinstance(value, (int, float, np.number)) and not isinstance(value, bool) and math.isfinite(value)


def thinned(line: Line) -> Line:
    """At most `MOST_POINTS`, each the mean of its neighbors."""
    parts = np.array_split(np.arange(len(line.values)), min(MOST_POINTS, len(line.values)))
    return Line(np.array([line.samples[part].mean() for part in parts]),
                np.array([line.values[part].mean() for part in parts]))


def running_mean(values: np.ndarray, window: int) -> np.ndarray:
    """The mean of a window around each value, shorter at the ends."""
    ones = np.ones(window)
    return np.convolve(values, ones, "same") / np.convolve(np.ones(len(values)), ones, "same")


def axis_unit(largest: float) -> tuple[float, str]:
    if largest >= 2e6:
        return 1e6, " (millions)"
    return (1e3, " (thousands)") if largest >= 2e4 else (1, "")


def inline(drawing: Drawing) -> Markup:
    """A figure of a lens as an <svg> inside the page."""
    return Markup(for_page(drawn(drawing, "svg", transparent=True).decode(), drawing.words))


def for_page(svg: str, words: str) -> str:
    """Only the <svg> element, in the page's colors, without what would clash or point outside: names of namespaces
    (HTML needs none) and identifiers that nothing in the picture refers to."""
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r"<metadata>.*?</metadata>", "", svg, flags=re.DOTALL)
    svg = re.sub(r'\sxmlns(:xlink)?="[^"]*"', "", svg).replace("xlink:href", "href")
    used = set(re.findall(r'(?:url\(|href=")#([^")]+)', svg))
    svg = re.sub(r'\sid="([^"]*)"', lambda match: match[0] if match[1] in used else "", svg)
    for stand_in, color in STYLE.items():
        svg = svg.replace(stand_in, color)
    head, rest = svg.split(">", 1)
    head = re.sub(r'\s(width|height|version)="[^"]*"', "", head)
    return f'{head} role="img" aria-label="{escape(words)}">{rest}'
