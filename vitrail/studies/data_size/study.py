"""The question of data size: its plan, and its findings as sentences, a figure and a table."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from vitrail.inspection.drawing import plain, tidy
from vitrail.inspection.lens import Drawing
from vitrail.studies.asked import page_name
from vitrail.studies.cell import Cell
from vitrail.studies.data_size.answers import Answers, ModelAnswer, answer, refuse_target
from vitrail.studies.data_size.plan import Plan
from vitrail.studies.data_size.published import in_the_paper
from vitrail.studies.drawing import band, legend, logarithmic, style
from vitrail.studies.fit.outlook import FAR, refuse_too_far
from vitrail.studies.fit.posterior import Estimate
from vitrail.studies.ledger import Row
from vitrail.studies.numerals import capital, percent
from vitrail.studies.question import Findings, OfPlan, Shown, Table, finished, held_out

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


@dataclass(frozen=True)
class DataSize(OfPlan):
    """`target`: an accuracy from 0 to 1 that is aimed at; the next whole percent without. `at`: numbers of images to
    foretell the accuracy of; beyond ten times the largest size only by `force`."""

    plan: Plan
    target: float | None = None
    at: tuple[int, ...] = ()
    force: bool = False

    def __post_init__(self) -> None:
        refuse_target(self.target)
        for size in self.at:
            refuse_too_far(size, self.plan.sizes[-1], self.force)

    @property
    def folder(self) -> str:
        return page_name("data", self.source, self.plan.models, self.options)

    @property
    def total(self) -> int:
        return len(self.plan.cells)

    def understood(self) -> list[tuple[str, str]]:
        plan = self.plan
        return [("question", f"how much data? {plan.source.spec}: {plan.source.kind}"),
                ("models", ", ".join(plan.models)),
                ("sizes", f"{', '.join(f'{size:,}' for size in plan.sizes)} training images; {plan.length}")]

    def cells(self, rows: Mapping[str, Row]) -> Sequence[Cell]:
        return self.plan.cells

    def answer(self, rows: Mapping[str, Row]) -> Findings:
        plan = self.plan
        told = answer(finished(plan.cells, rows), plan.models, self.target, self.at, len(plan.source.classes))
        doubts = told.doubts + plan_doubts(plan)
        return Findings(f"How much data? {plan.source.spec}", told.sentences, doubts,
                        (figure(told, plan.length),), (table(plan, told), in_the_paper()), numbers(plan, told, self.at))


def plan_doubts(plan: Plan) -> tuple[str, ...]:
    """What speaks against how the runs were trained."""
    said = []
    if plan.share < 1:
        said.append(f"All runs had {plan.share} of the default recipe's length: longer ones would be better, most of "
                    "all with many images.")
    if plan.by_hand:
        said.append("How long the runs are was set by hand, whatever the number of images: longer ones may be better.")
    if weights := plan.options.get("--weights"):
        said.append(f"All runs started from {weights}. If that has learned from these images before, none of this says "
                    "what other images would bring.")
    return tuple(said)


def figure(told: Answers, length: str) -> Shown:
    drawing = Drawing("study", partial(draw, models=told.models), 6.8, 4.2,
                      "test error against the number of training images, by model")
    return Shown("How the error falls", drawing, (
        "Small marks are runs, large ones their means, which the lines join. Beyond the largest size: what is "
        f"expected, and where it lies with a probability of 90 %, up to {FAR:g} times as many images. Both axes are "
        "logarithmic. Parts of the data lie within one another, each class in its share; what is held out is the same "
        f"for all. {capital(length)}."))


def draw(canvas: Figure, models: Sequence[ModelAnswer]) -> None:
    axes = canvas.subplots()
    for number, model in enumerate(models):
        draw_model(axes, model, number)
    logarithmic(axes)
    tidy(axes, "training images", "test error, %")
    if any(model.outlook for model in models):
        legend(axes)


def draw_model(axes: Axes, model: ModelAnswer, number: int) -> None:
    color, marker, dash = look = style(number)
    if model.points:
        sizes, errors, _ = np.array(model.points).T
        axes.plot(sizes, 100 * errors.clip(min=1e-4), marker=marker, linestyle="", color=color, markersize=4,
                  alpha=0.55)
    if model.outlook is None:
        return
    curve, posterior = model.outlook.curve, model.outlook.posterior
    axes.plot(curve.x, 100 * curve.y, marker=marker, linestyle=dash, color=color, markersize=6,
              label=plain(model.model))
    beyond = np.geomspace(curve.x[-1], FAR * curve.x[-1], 30)
    said = [posterior.predict(float(x)) for x in beyond]
    band(axes, beyond, [100 * one.low for one in said], [100 * one.high for one in said], look)
    axes.plot(beyond, [100 * one.expected for one in said], linestyle=dash, color=color, linewidth=0.9)


def table(plan: Plan, told: Answers) -> Table:
    """A row for each size: images, and for each model the mean accuracy, its range over seeds, and their number."""
    rows = []
    for size in plan.sizes:
        cells = []
        for model in told.models:
            own = model.scores.get(size, [])
            spread = f" ({percent(min(own))} to {percent(max(own))}, {len(own)} seeds)" if len(own) > 1 else ""
            cells.append(f"{percent(float(np.mean(own)))}{spread}" if own else "not yet")
        rows.append((f"{size:,}", *cells))
    return Table("What was measured", ("training images", *(model.model for model in told.models)), tuple(rows),
                 f"Accuracy on the {held_out(plan.source)}, {plan.kept}; of several seeds the mean, and in brackets "
                 "the lowest and the highest.")


def numbers(plan: Plan, told: Answers, at: Sequence[int]) -> dict[str, Any]:
    return {
        "study": "data", "source": plan.source.spec, "rule": plan.rule, "length": plan.length,
        "sizes": list(plan.sizes), "models": [model_numbers(model, at) for model in told.models],
        "swaps": {pair: {"ahead": swap.ahead, "probability": swap.probability, "before": swap.before,
                         "at": swap.at and swap.at._asdict()} for pair, swap in told.swaps.items()}}


def model_numbers(model: ModelAnswer, at: Sequence[int]) -> dict[str, Any]:
    value: dict[str, Any] = {"model": model.model, "points": [point._asdict() for point in model.points]}
    if model.outlook is not None:
        seen, largest = model.outlook, model.outlook.posterior.largest
        reach = seen.posterior.size_for(1 - model.aim)
        value |= {
            "accuracy": asdict(model.best), "scatter": seen.curve.scatter,
            "target": {"accuracy": model.aim, "reached": 1 - model.aim >= float(seen.curve.y[-1]),
                       "images": reach.size and bounded(reach.size), "unreachable": reach.unreachable},
            "predicted": {f"{times}": seen.predict(times * largest)._asdict() for times in (2, 4)},
            "at": {f"{size}": seen.predict(size, force=True)._asdict() for size in at},
            "rivals": {f"{times}": seen.rivals(times * largest) for times in (2, 4)},
            "doubling_removes": seen.posterior.slope(largest)._asdict(),
            "backtest": None if seen.backtest is None else {
                "images": seen.backtest.x, "predicted": seen.backtest.predicted._asdict(),
                "measured": seen.backtest.measured, "held": seen.backtest.held, "rivals": seen.backtest.rivals}}
    return value


def bounded(size: Estimate) -> dict[str, float | None]:
    """As JSON has it: no bound is null."""
    return {name: value if math.isfinite(value) else None for name, value in size._asdict().items()}
