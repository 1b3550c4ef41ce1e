"""The question of compute: its plan, and its findings beside those of the paper's Table 6."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from vitrail.errors import DataError
from vitrail.inspection.lens import Drawing
from vitrail.studies.asked import page_name
from vitrail.studies.cell import Cell
from vitrail.studies.compute.answers import Answers, answer
from vitrail.studies.compute.compare import Pair, Place
from vitrail.studies.compute.figure import draw
from vitrail.studies.compute.frontier import CALLED, Family, Trained
from vitrail.studies.compute.plan import Plan
from vitrail.studies.compute.published import DATA_SETS, published
from vitrail.studies.compute.sentences import budget_words, compute_words
from vitrail.studies.compute.tables import compared, epochs_words, measured
from vitrail.studies.ledger import Row
from vitrail.studies.question import Findings, OfPlan, Shown, finished

HOW_TO_READ = ("Each mark is a model trained for one length; full ones are on the frontier of their family, which no "
               "other of the family beats with as much compute or less. The lines go through the frontiers; a mark on "
               "them lies within the band with a probability of 90 %. Both axes are logarithmic.")


@dataclass(frozen=True)
class Compute(OfPlan):
    """A question as `vitrail.studies.question` has it."""

    plan: Plan

    @property
    def folder(self) -> str:
        """By its models where they were asked for."""
        return page_name("compute", self.source, self.plan.asked, self.options)

    @property
    def total(self) -> int:
        return len(self.plan.cells)

    def understood(self) -> list[tuple[str, str]]:
        plan = self.plan
        models = {family: list(dict.fromkeys(setting.model for setting in plan.of(family)))
                  for family in plan.families}
        return [("question", f"how much compute, and of which family? {plan.source.spec}: {plan.source.kind}"),
                *((CALLED[family], ", ".join(own)) for family, own in models.items()),
                ("lengths", f"{', '.join(map(str, plan.lengths))} of what the default recipe trains: "
                            f"{', '.join(dict.fromkeys(f'{one.epochs:.3g}' for one in plan.settings))} epochs; the "
                            "rates are the recipe's for all, none is tuned")]

    def cells(self, rows: Mapping[str, Row]) -> Sequence[Cell]:
        return self.plan.cells

    def answer(self, rows: Mapping[str, Row]) -> Findings:
        plan = self.plan
        trained = trained_of(plan, rows)
        if not trained:
            raise DataError("No run of this study is finished, so there is nothing to say yet. Give it more --time.")
        asked = next(row for row in finished(plan.cells, rows))["result"]["test"]["images"]
        told = answer(trained, plan.families, int(asked), len(plan.source.classes))
        paper = answer(published(), ["vit", "bit", "hybrid"])
        tables = [compared(told, "How the families compare"), measured(plan, told, trained),
                  compared(paper, "How the paper's families compare, by the same method")]
        return Findings(
            f"How much compute? {plan.source.spec}", (*told.sentences, paper_words(paper)), told.doubts,
            (own_figure(told), paper_figure(paper)), tuple(table for table in tables if table is not None),
            {"study": "compute", "source": plan.source.spec, "lengths": [str(length) for length in plan.lengths],
             **numbers(told), "paper": {"sentences": list(paper.sentences), **numbers(paper)}})


def trained_of(plan: Plan, rows: Mapping[str, Row]) -> list[Trained]:
    """The settings of which one seed is finished at least."""
    found = []
    for setting, cells in plan.settings.items():
        if own := finished(cells, rows):
            found.append(Trained(
                setting.family, setting.model, epochs_words(setting.epochs), float(own[0]["cost"]["exaflops"]),
                tuple(1 - float(row["result"]["test"]["top1"]) for row in own), int(own[0]["cost"]["samples"]),
                sum(float(row["cost"]["seconds"]) for row in own) / len(own)))
    return found


def paper_words(paper: Answers) -> str:
    return f"By the same method, the paper's own numbers (Table 6) say: {compute_words(paper.pairs[0])}"


def own_figure(told: Answers) -> Shown:
    return Shown("What compute buys here", Drawing(
        "study", partial(draw, told=told, error="test error, %"), 6.8, 4.4,
        "test error against the compute of training, by family"), (
        f"{HOW_TO_READ} Compute is that of the whole training (6 x multiply-adds of a forward pass x images), not of a "
        "second. All models follow the default recipe with the same rates: one that is tuned for its family may do "
        "better."))


def paper_figure(paper: Answers) -> Shown:
    return Shown("What it bought in the paper", Drawing(
        "paper", partial(draw, told=paper, error="error, mean of five data sets, %"), 6.8, 4.4,
        "error against the compute of pre-training, by family, from the paper's Table 6"), (
        f"Table 6 of the paper, drawn and asked in the same way: pre-training on JFT-300M, mean of {DATA_SETS} after "
        f"fine-tuning. {compute_words(paper.pairs[0])} {budget_words(paper.pairs[1], paper.unit)}"))


def numbers(told: Answers) -> dict[str, Any]:
    """Compute in exaFLOPs, whatever the page's unit."""
    return {"seed_scatter": told.scatter or None, "families": [family_numbers(family) for family in told.families],
            "pairs": [pair_numbers(pair) for pair in told.pairs]}


def family_numbers(family: Family) -> dict[str, Any]:
    on = set(family.frontier)
    value: dict[str, Any] = {"family": family.name, "points": [
        {"model": one.model, "length": one.length, "exaflops": one.exaflops, "samples": one.samples,
         "seconds": one.seconds, "errors": list(one.errors), "frontier": one in on} for one in family.trained]}
    if family.posterior is not None:
        value |= {"doubling_removes": family.fitted.slope(float(family.curve.x[-1]))._asdict(),
                  "saturates": family.saturates(), "misfit": family.misfit}
    return value


def pair_numbers(pair: Pair) -> dict[str, Any]:
    return {"first": pair.first.name, "second": pair.second.name,
            "compute": [{"error": place.at, **place_numbers(place)} for place in pair.levels],
            "errors": [{"exaflops": place.at, **place_numbers(place)} for place in pair.budgets]}


def place_numbers(place: Place) -> dict[str, Any]:
    return {"second_to_first": place.ratio._asdict(), "ahead": place.ahead}
