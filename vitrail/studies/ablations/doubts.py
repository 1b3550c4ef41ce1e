"""What speaks against believing an ablation."""

from __future__ import annotations

from collections.abc import Mapping

from vitrail.studies.ablations.answers import Arm, listed
from vitrail.studies.ablations.plan import Plan
from vitrail.studies.ledger import Row
from vitrail.studies.numerals import capital

MANY_CLAIMS, FEW_TESTED = 3, 500


def doubts(plan: Plan, arms: Mapping[str, Arm], rows: Mapping[str, Row]) -> tuple[str, ...]:
    ablation = plan.ablation
    said = [f"Measured here: {plan.measure}; in the paper: {ablation.paper_measure}. Differences can be compared, "
            "levels cannot."]
    used = {row.get("precision") for cell in plan.cells(rows) if (row := rows.get(cell.key)) is not None} - {None}
    if len(used) > 1:
        said.append("Some runs computed in bf16, others in fp32, whichever was faster at the time, so not all else is "
                    "the same. --set training.precision=fp32 makes it so, and trains anew.")
    said += ablation.left_out(plan.base)
    said += rate_doubts(plan, arms, rows)
    said += [f"The loss stopped being finite: {words}." for words in dict.fromkeys(
        words for arm in arms.values() for words in arm.diverged)]
    if len(plan.claims) >= MANY_CLAIMS and plan.seeds > 1:
        said.append(f"{len(plan.claims)} comparisons at 90 % each: where nothing differs, about one in ten looks as if "
                    "it did. And who came out ahead was picked for it: some of such a lead is luck.")
    if plan.tested < FEW_TESTED:
        said.append(f"Only {plan.tested} images are asked about, so one of them is {100 / plan.tested:.1f} points; the "
                    "intervals are of seeds, always on these images.")
    return tuple(said)


def rate_doubts(plan: Plan, arms: Mapping[str, Arm], rows: Mapping[str, Row]) -> list[str]:
    if len(plan.factors) == 1:
        return ["No learning rate was tuned: all variants have that of the recipe, "
                f"{plan.base.optimizer.learning_rate:g}. --rates 0.3 1 3 tries three for each."] if (
                    plan.base.objective.labeled) else []
    tuned = [one for one in plan.running if one.rate_of is None]
    open_ones = [one.words for one in tuned if not plan.settled(one, rows)]
    said = [f"Not all rates are tried yet: {listed(open_ones)}."] if open_ones else []
    edges = [one for one in tuned if plan.settled(one, rows) and arms[one.name].rate in (
        plan.rates(one)[0], plan.rates(one)[-1])]
    if edges:
        named = listed([f"{one.words} ({arms[one.name].rate:g})" for one in edges])
        said.append(f"{capital(named)}: the best rate is the last that was tried on that side, and a better one may "
                    "lie beyond. Give more of them: --rates.")
    return said
