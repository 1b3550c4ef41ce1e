"""The figures of ablations: accuracies with intervals, accuracy against compute, and accuracy against the rate."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import TYPE_CHECKING

from vitrail.inspection.drawing import plain, tidy
from vitrail.inspection.lens import Drawing
from vitrail.studies.ablations.answers import Arm
from vitrail.studies.ablations.plan import Plan, validated
from vitrail.studies.drawing import WHOLE, legend, style
from vitrail.studies.ledger import Row
from vitrail.studies.numerals import capital
from vitrail.studies.question import Shown

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

LINE = 0.42
"""Inches for a variant."""

OVER = 1.5
"""Points beyond 0 and 100 % that a mark may need."""

LABEL = 0.06
"""Share of an axis that a number takes."""


def figures(plan: Plan, arms: Mapping[str, Arm], rows: Mapping[str, Row]) -> tuple[Shown, ...]:
    scaled = any(arm.variant.group for arm in arms.values())
    found = [against_compute(plan, arms) if scaled else side_by_side(plan, arms)]
    if len(plan.factors) > 1:
        found.append(against_rate(plan, rows))
    return tuple(found)


def side_by_side(plan: Plan, arms: Mapping[str, Arm]) -> Shown:
    drawing = Drawing("study", partial(draw_side_by_side, arms=arms, measure=plan.measure), 6.8,
                      1.0 + LINE * len(arms), "accuracy of each variant with its interval over seeds")
    return Shown("Side by side", drawing, "Small circles are runs, one for each seed; the large mark is their mean, "
                 "and the line holds the mean of all possible seeds with a probability of 90 % (Student). Two variants "
                 "whose lines overlap may still differ: what counts is the difference at the same seeds, above.")


def draw_side_by_side(canvas: Figure, arms: Mapping[str, Arm], measure: str) -> None:
    axes = canvas.subplots()
    for place, arm in enumerate(arms.values()):
        draw_arm(axes, arm, place)
    axes.set_yticks(range(len(arms)), [plain(arm.variant.words) for arm in arms.values()])
    axes.set_ylim(len(arms) - 0.5, -0.5)
    axes.set_xlim(max(axes.get_xlim()[0], -OVER), min(axes.get_xlim()[1], WHOLE + OVER))
    tidy(axes, f"{measure}, %")


def draw_arm(axes: Axes, arm: Arm, place: int) -> None:
    color, marker, _ = style(0)
    axes.plot(list(arm.scores.values()), [place] * len(arm.scores), marker="o", markersize=4, linestyle="",
              markerfacecolor="none", color=color, alpha=0.7)
    if arm.mean is None:
        return
    if arm.mean.low is not None and arm.mean.high is not None:
        axes.plot([arm.mean.low, arm.mean.high], [place, place], color=color, linewidth=1.6)
    axes.plot([arm.mean.value], [place], marker=marker, markersize=7, color=color)


def against_compute(plan: Plan, arms: Mapping[str, Arm]) -> Shown:
    drawing = Drawing("study", partial(draw_against_compute, arms=arms, measure=plan.measure), 6.8, 4.4,
                      "accuracy against compute relative to the base, for each direction of scaling")
    return Shown("What compute buys in each direction", drawing, "Each mark is the mean over seeds, with its 90 % "
                 "interval; compute is that of the forward pass, and 1 is the base, which all lines share. Compute has "
                 "a logarithmic axis. The paper's Figure 8 is the same picture.")


def draw_against_compute(canvas: Figure, arms: Mapping[str, Arm], measure: str) -> None:
    axes = canvas.subplots()
    groups = dict.fromkeys(arm.variant.group for arm in arms.values() if arm.variant.group)
    for number, group in enumerate(groups):
        color, marker, dash = style(number)
        line = sorted((arm for arm in arms.values() if arm.variant.group in ("", group) and arm.mean is not None),
                      key=lambda arm: arm.compute)
        seen = [(arm.compute, arm.mean) for arm in line if arm.mean is not None]
        axes.errorbar([x for x, _ in seen], [mean.value for _, mean in seen],
                      yerr=[[mean.value - (mean.value if mean.low is None else mean.low) for _, mean in seen],
                            [(mean.value if mean.high is None else mean.high) - mean.value for _, mean in seen]],
                      marker=marker, linestyle=dash, color=color, markersize=6, capsize=3, linewidth=1.3,
                      label=plain(group))
    number_axis(axes, [arm.compute for arm in arms.values() if arm.mean is not None], 2)
    tidy(axes, "compute, relative to the base", f"{measure}, %")
    legend(axes)


def against_rate(plan: Plan, rows: Mapping[str, Row]) -> Shown:
    lines = {plan.by_name[name].words: [(rate, 100 * validated(rows[cell.key])) for rate, cell in grid.items()
                                        if cell.key in rows and validated(rows[cell.key]) >= 0]
             for name, grid in plan.grid.items()}
    drawing = Drawing("rates", partial(draw_against_rate, lines=lines), 6.8, 3.8,
                      "validation accuracy against the learning rate, for each variant")
    return Shown("Each at every rate", drawing, "Accuracy on the validation images, by which the rate of each is "
                 "chosen, at the first seed. Where the peaks lie at different rates, a comparison at one rate is "
                 "unfair to one of them.")


def draw_against_rate(canvas: Figure, lines: Mapping[str, list[tuple[float, float]]]) -> None:
    axes = canvas.subplots()
    for number, (words, points) in enumerate(lines.items()):
        color, marker, dash = style(number)
        axes.plot([rate for rate, _ in points], [value for _, value in points], marker=marker, linestyle=dash,
                  color=color, markersize=6, label=plain(capital(words)))
    number_axis(axes, [rate for points in lines.values() for rate, _ in points], 3)
    tidy(axes, "learning rate", "validation accuracy, %")
    if any(lines.values()):
        legend(axes)


def number_axis(axes: Axes, values: list[float], digits: int) -> None:
    """A logarithmic axis with ticks at the values that there are, where they do not crowd."""
    from matplotlib.ticker import NullFormatter, NullLocator

    axes.set_xscale("log")
    ticks: list[float] = []
    room = (max(values, default=1.0) / min(values, default=1.0)) ** LABEL
    for value in sorted(set(values)):
        if not ticks or value / ticks[-1] > room:
            ticks.append(value)
    axes.set_xticks(ticks, [f"{value:.{digits}g}" for value in ticks])
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_minor_formatter(NullFormatter())
