"""A study on one page: sentences first, then the figure, then the table; and the same as JSON."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from vitrail.files import write_bytes, write_text
from vitrail.inspection.drawing import drawn, plain, tidy
from vitrail.inspection.lens import Drawing
from vitrail.report.figures import inline
from vitrail.report.page import environment
from vitrail.studies.answers import Answers, ModelAnswer, percent
from vitrail.studies.data_size import Plan
from vitrail.studies.outlook import FAR

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

STYLES = (("#2553a3", "o", "-"), ("#b5274a", "s", "--"), ("#23795a", "^", "-."), ("#c9821b", "D", ":"),
          ("#6a3d9e", "v", (0, (5, 1))))
"""Color, marker and dash, so that lines are told apart without color."""

PAGE, NUMBERS, FIGURE = "study.html", "study.json", "study"


def write_study(out: Path, plan: Plan, told: Answers, notes: Sequence[str]) -> list[Path]:
    """Returns what was written, the page first. Raises SaveError."""
    figure = Drawing(FIGURE, lambda canvas: draw(canvas, told.models), 6.8, 4.2,
                     "test error against the number of training images, by model")
    for kind in ("svg", "png"):
        write_bytes(out / f"{FIGURE}.{kind}", drawn(figure, kind))
    page = environment().get_template("study.html").render(
        title=f"How much data? {plan.source.spec}", told=told, notes=notes, figure=inline(figure),
        table=table(plan, told), rule=plan.length, far=FAR)
    write_text(out / NUMBERS, json.dumps(numbers(plan, told, notes), indent=1) + "\n")
    write_text(out / PAGE, page)
    return [out / PAGE, out / NUMBERS, out / f"{FIGURE}.svg", out / f"{FIGURE}.png"]


def draw(figure: Figure, models: Sequence[ModelAnswer]) -> None:
    axes = figure.subplots()
    for number, model in enumerate(models):
        draw_model(axes, model, number)
    axes.set_xscale("log")
    axes.set_yscale("log")
    ticks_in_numbers(axes)
    tidy(axes, "training images", "test error, %")
    axes.grid(axis="x", linewidth=0.4, color="#8886", zorder=0)
    if models:
        axes.legend(frameon=False)


def draw_model(axes: Axes, model: ModelAnswer, number: int) -> None:
    color, marker, dash = STYLES[number % len(STYLES)]
    if model.points:
        sizes, errors = np.array(model.points).T
        axes.plot(sizes, 100 * errors.clip(min=1e-4), marker=marker, linestyle="", color=color, markersize=4,
                  alpha=0.55)
    if model.outlook is None:
        return
    curve, posterior = model.outlook.curve, model.outlook.posterior
    axes.plot(curve.x, 100 * curve.y, marker=marker, linestyle=dash, color=color, markersize=6,
              label=plain(model.model))
    beyond = np.geomspace(curve.x[-1], FAR * curve.x[-1], 30)
    said = [posterior.predict(float(x)) for x in beyond]
    axes.fill_between(beyond, [100 * one.low for one in said], [100 * one.high for one in said], color=color,
                      alpha=0.16, linewidth=0)
    axes.plot(beyond, [100 * one.expected for one in said], linestyle=dash, color=color, linewidth=0.9)


def ticks_in_numbers(axes: Axes) -> None:
    """54,000 and 9 where a logarithmic axis would write powers of ten."""
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_locator(LogLocator(base=10, subs=(1, 2, 5), numticks=12))
        axis.set_major_formatter(FuncFormatter(lambda value, place: f"{value:,.10g}"))
        axis.set_minor_formatter(NullFormatter())


def table(plan: Plan, told: Answers) -> list[dict[str, Any]]:
    """A row for each size: images, and for each model the mean accuracy, its range over seeds, and their number."""
    rows = []
    for size in plan.sizes:
        cells = []
        for model in told.models:
            own = [1 - error for images, error in model.points if images == size]
            spread = f" ({percent(min(own))} to {percent(max(own))}, {len(own)} seeds)" if len(own) > 1 else ""
            cells.append(f"{percent(float(np.mean(own)))}{spread}" if own else "not yet")
        rows.append({"images": f"{size:,}", "cells": cells})
    return rows


def numbers(plan: Plan, told: Answers, notes: Sequence[str]) -> dict[str, Any]:
    return {
        "study": "data", "source": plan.source.spec, "rule": plan.rule, "length": plan.length,
        "sizes": list(plan.sizes),
        "sentences": list(told.sentences), "doubts": list(told.doubts), "notes": list(notes),
        "models": [model_numbers(model) for model in told.models],
        "swaps": {pair: {"ahead": swap.ahead, "probability": swap.probability, "before": swap.before,
                         "at": swap.at and swap.at._asdict()} for pair, swap in told.swaps.items()}}


def model_numbers(model: ModelAnswer) -> dict[str, Any]:
    value: dict[str, Any] = {"model": model.model, "points": [
        {"images": images, "error": error} for images, error in model.points]}
    if model.outlook is not None:
        seen, largest = model.outlook, model.outlook.posterior.largest
        value |= {
            "scatter": seen.curve.scatter,
            "predicted": {f"{times}": seen.predict(times * largest)._asdict() for times in (2, 4)},
            "rivals": {f"{times}": seen.rivals(times * largest) for times in (2, 4)},
            "doubling_removes": seen.posterior.slope(largest)._asdict(),
            "backtest": None if seen.backtest is None else {
                "images": seen.backtest.x, "predicted": seen.backtest.predicted._asdict(),
                "measured": seen.backtest.measured, "held": seen.backtest.held, "rivals": seen.backtest.rivals}}
    return value
