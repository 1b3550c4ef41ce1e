"""An ablation as a question of a study: its plan, and its findings as sentences, figures and a table."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from vitrail.studies.ablations.answers import (
    Arm,
    Compared,
    arms_of,
    compare,
    gap_of,
    score_words,
    sentences,
    signed,
)
from vitrail.studies.ablations.doubts import doubts
from vitrail.studies.ablations.drawing import figures
from vitrail.studies.ablations.plan import Plan
from vitrail.studies.asked import page_name
from vitrail.studies.cell import Cell, model_name
from vitrail.studies.intervals import Mean
from vitrail.studies.ledger import Row
from vitrail.studies.numerals import capital
from vitrail.studies.question import Findings, OfPlan, Table


@dataclass(frozen=True)
class AblationStudy(OfPlan):
    plan: Plan

    @property
    def folder(self) -> str:
        return page_name(self.plan.ablation.name, self.source, [model_name(self.plan.base)], self.options)

    @property
    def total(self) -> int:
        return self.plan.total

    def understood(self) -> list[tuple[str, str]]:
        plan = self.plan
        times = f"{', '.join(f'{factor:.2g}' for factor in plan.factors)} times the recipe's"
        if len(plan.factors) > 1:
            rates = f"{times}, each variant's chosen by validation at the first seed"
        else:
            rates = "the recipe's, the same for all" if plan.factors == (1.0,) else f"{times}, for all"
        return [("question", f"{plan.ablation.question} {plan.source.spec}: {plan.source.kind}"),
                ("model", model_name(plan.base)),
                ("variants", "; ".join(one.words for one in plan.variants)),
                ("rates", rates), ("seeds", f"{plan.seeds}, the same for all variants")]

    def cells(self, rows: Mapping[str, Row]) -> Sequence[Cell]:
        return self.plan.cells(rows)

    def answer(self, rows: Mapping[str, Row]) -> Findings:
        plan = self.plan
        arms = arms_of(plan, rows)
        compared = compare(plan, arms)
        title = f"{capital(plan.ablation.question)} {model_name(plan.base)} on {plan.source.spec}"
        return Findings(title, sentences(plan, arms, compared), doubts(plan, arms, rows), figures(plan, arms, rows),
                        (table(plan, arms),), numbers(plan, arms, compared))


def table(plan: Plan, arms: Mapping[str, Arm]) -> Table:
    """A row for each variant, the paper's number at its end."""
    first = arms[plan.variants[0].name]
    rows = []
    for arm in arms.values():
        gap = gap_of(plan, arms, arm, first) if arm is not first else None
        rows.append((arm.variant.words, "not yet" if arm.rate is None else f"{arm.rate:g}", score_words(arm.mean),
                     short_gap(gap), f"{arm.compute:.2g}", arm.variant.paper))
    columns = ("variant", "learning rate", "right here", f"points against {first.variant.words}", "compute", "paper")
    return Table("Ours and the paper's", columns, tuple(rows), (
        f"Right here: {plan.measure}, mean over seeds with a 90 % interval. Differences are at the "
        f"same seeds. Compute: of one image, relative to the base. Paper: {plan.ablation.paper_measure}."))


def short_gap(gap: Mean | None) -> str:
    """For a table, whose head says what it is."""
    if gap is None:
        return ""
    interval = "" if gap.low is None or gap.high is None else f" ({signed(gap.low)} to {signed(gap.high)})"
    return f"{signed(gap.value)}{interval}"


def numbers(plan: Plan, arms: Mapping[str, Arm], compared: Sequence[Compared]) -> dict[str, Any]:
    return {
        "study": plan.ablation.name, "source": plan.source.spec, "model": model_name(plan.base), "seeds": plan.seeds,
        "images": plan.images, "test_images": plan.tested, "measure": plan.measure,
        "variants": [{"name": arm.variant.name, "words": arm.variant.words, "learning_rate": arm.rate,
                      "scores": {str(seed): value for seed, value in arm.scores.items()},
                      "mean": arm.mean and asdict(arm.mean), "compute": arm.compute, "paper": arm.variant.paper,
                      "diverged": list(arm.diverged)} for arm in arms.values()],
        "claims": [{"first": one.claim.first, "second": one.claim.second, "claim": one.claim.kind,
                    "paper": one.claim.paper, "points": one.gap and asdict(one.gap), "verdict": one.verdict}
                   for one in compared]}
