"""What an ablation says: its arms out of the lines of the ledger, each two that the paper compares, and sentences."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Literal

from vitrail.errors import DataError
from vitrail.studies.ablations.ablation import Claim, Variant
from vitrail.studies.ablations.plan import Plan
from vitrail.studies.intervals import Mean, mean_of, paired, shared_chance
from vitrail.studies.ledger import Row
from vitrail.studies.numerals import capital

SMALL = 1.0
"""Points of accuracy below which two variants are called equal, and are not far apart: in the paper's Table 8 all
positions lie within it, and no positions outside."""

LIKE_COST = 1.25
"""Times the compute up to which nobody asks what a variant costs."""

Verdict = Literal["held", "not held", "not seen", "unknown"]


@dataclass(frozen=True)
class Arm:
    """A variant with what was measured of it: `scores`, accuracy in percent by seed, at the chosen `rate`; `compute`
    relative to the base; `diverged`: the rates and seeds whose loss was not finite."""

    variant: Variant
    rate: float | None
    scores: Mapping[int, float]
    compute: float
    diverged: tuple[str, ...]

    @cached_property
    def mean(self) -> Mean | None:
        if not self.scores:
            return None
        mean = mean_of(list(self.scores.values()))
        return mean if mean.low is None or mean.high is None else replace(
            mean, low=max(0.0, mean.low), high=min(100.0, mean.high))


@dataclass(frozen=True)
class Compared:
    """`gap`: points by which the claim's first is ahead, at the same seeds; None where nothing is finished."""

    claim: Claim
    first: Arm
    second: Arm
    gap: Mean | None

    @property
    def verdict(self) -> Verdict:
        if self.gap is None or self.gap.low is None or self.gap.high is None:
            return "unknown"
        small = self.gap.low >= -SMALL and self.gap.high <= SMALL
        if self.claim.kind == "equal":
            return "held" if small else "not seen" if self.gap.holds(0) else "not held"
        if self.claim.kind == "far better":
            return "held" if self.gap.low > SMALL else "not held" if self.gap.high < SMALL else "not seen"
        return "held" if self.gap.low > 0 else "not held" if self.gap.high < 0 else "not seen"


def arms_of(plan: Plan, rows: Mapping[str, Row]) -> dict[str, Arm]:
    """Raises DataError where nothing is finished."""
    found = {one.name: arm_of(plan, one, rows) for one in plan.variants}
    if not any(arm.scores for arm in found.values()):
        failed = [words for arm in found.values() for words in arm.diverged]
        raise DataError("Every run diverged: try lower --rates." if failed else
                        "No run of this study is finished, so there is nothing to say yet. Give it more --time.")
    return found


def arm_of(plan: Plan, variant: Variant, rows: Mapping[str, Row]) -> Arm:
    running = plan.by_name[variant.runs_of or variant.name]
    rate = plan.chosen(running, rows)
    tried = [] if running.rate_of else list(plan.grid[running.name].values())
    chosen = [] if rate is None else [plan.cell(running, rate, seed) for seed in range(plan.seeds)]
    scores, diverged = {}, []
    for cell in chosen:
        value = score_of(rows[cell.key], variant) if cell.key in rows else None
        if value is not None:
            scores[cell.recipe.seed] = 100 * value
    for cell in {cell.key: cell for cell in (*tried, *chosen)}.values():
        if "diverged" in rows.get(cell.key, {"result": {}})["result"]:
            diverged.append(cell.words)
    return Arm(variant, rate, scores, plan.compute[variant.name], tuple(diverged))


def score_of(row: Row, variant: Variant) -> float | None:
    """Accuracy from 0 to 1; None of a run that diverged."""
    if "diverged" in row["result"]:
        return None
    value = row["result"]["floor"] if variant.reads == "floor" else row["result"]["test"]["top1"]
    return None if value is None else float(value)


def compare(plan: Plan, arms: Mapping[str, Arm]) -> list[Compared]:
    return [Compared(claim, arms[claim.first], arms[claim.second], gap_of(
        plan, arms, arms[claim.first], arms[claim.second])) for claim in plan.claims]


def gap_of(plan: Plan, arms: Mapping[str, Arm], first: Arm, second: Arm) -> Mean | None:
    """By how many points the first is ahead at the same seeds. Its interval is no narrower than an image is, nor than
    what the runs of all variants with several seeds usually scatter."""
    groups = [arm.scores for arm in distinct(arms.values()) if len(arm.scores) > 1]
    chance = shared_chance(groups, len(first.scores.keys() & second.scores.keys()))
    return paired(first.scores, second.scores, max(100 / plan.tested, chance))


def distinct(arms: Iterable[Arm]) -> list[Arm]:
    """Each run once: a variant at another one's rate may be the same runs as at its own."""
    found: list[Arm] = []
    for arm in arms:
        same = [one for one in found if (one.variant.settings, one.variant.reads, one.rate) == (
            arm.variant.settings, arm.variant.reads, arm.rate)]
        found += [] if same else [arm]
    return found


def sentences(plan: Plan, arms: Mapping[str, Arm], compared: list[Compared]) -> tuple[str, ...]:
    said = headline(plan, arms)
    if plan.ablation.explained is not None and compared:
        at_one, at_own = (compared[place] for place in plan.ablation.explained)
        said.append(explanation(at_one, at_own))
    return (*filter(None, said), *(claim_words(one) for one in compared))


def headline(plan: Plan, arms: Mapping[str, Arm]) -> list[str]:
    """Who is ahead, and who cannot be told from it, by the seeds that all of them have."""
    own = ranked(arms)
    if not own:
        return []
    best = max(own, key=lambda arm: arm.mean.value if arm.mean else 0.0)
    words = f"{score_words(best.mean)} of the held-out images right."
    if len(own) == 1:
        return [f"Only {best.variant.words} is finished: {words}"]
    others = [(arm, gap_of(plan, arms, best, arm)) for arm in own if arm is not best]
    if len(best.scores) < 2:
        return [f"{capital(best.variant.words)} came out ahead: {words}",
                "By the one seed that all have, nobody knows how much of that is chance."]
    alike = [behind_words(arm, gap) for arm, gap in others if gap is None or gap.holds(0)]
    behind = [behind_words(arm, gap) for arm, gap in others if gap is not None and not gap.holds(0)]
    parts = {"Behind it": behind, "Too close to tell from it": alike}
    return [f"{capital(best.variant.words)} came out ahead: {words}",
            " ".join(f"{words}: {'; '.join(names)}." for words, names in parts.items() if names)]


def ranked(arms: Mapping[str, Arm]) -> list[Arm]:
    """Those with a score, each with the seeds that all of them have, so that none is better by its seeds."""
    found = distinct(arm for arm in arms.values() if arm.scores)
    shared = set.intersection(*(set(arm.scores) for arm in found)) if found else set()
    return [replace(arm, scores={seed: arm.scores[seed] for seed in sorted(shared)}) for arm in found] if shared else (
        found)


def behind_words(arm: Arm, gap: Mean | None) -> str:
    if gap is None or gap.low is None or gap.high is None:
        return arm.variant.words
    return f"{arm.variant.words} ({gap.value:.1f} points behind, interval {signed(gap.low)} to {signed(gap.high)})"


def explanation(at_one: Compared, at_own: Compared) -> str:
    """Whether the learning rate explains a gap: it is there at one rate, and gone where each has its own."""
    if None in (at_one.gap, at_own.gap) or "unknown" in (at_one.verdict, at_own.verdict):
        return ""
    assert at_one.gap is not None
    assert at_own.gap is not None
    words = at_own.first.variant.words
    if at_own.first.rate == at_one.second.rate:
        return (f"{capital(words)} and {at_own.second.variant.words} learn best at the same of the rates that were "
                f"tried, {at_own.first.rate:g}, so there is nothing that adjusting the rate could explain.")
    if at_one.gap.holds(0) or at_one.gap.value < 0:
        return "At one rate for both there is no gap to be seen that the learning rate could explain."
    if not at_own.gap.holds(0):
        return f"The learning rate does not explain all: {words} differs at its own rate, too."
    left = max(abs(at_own.gap.low or 0.0), abs(at_own.gap.high or 0.0))
    if left > at_one.gap.value / 2:
        return (f"Whether the learning rate explains the gap of {at_one.gap.value:.1f} points takes more seeds: up to "
                f"{left:.1f} may be left where each has its own.")
    return (f"The learning rate explains the gap here: {at_one.gap.value:.1f} points at one rate, and no evidence "
            "of any where each has its own.")


def claim_words(one: Compared) -> str:
    pair = f"{capital(one.first.variant.words)} against {one.second.variant.words}"
    if one.gap is None:
        return f"{pair}: not finished yet. Paper: {one.claim.paper}."
    return f"{pair}: {gap_words(one.gap)}{cost_words(one)}. Paper: {one.claim.paper}. {verdict_words(one)}."


def cost_words(one: Compared) -> str:
    """Where one of them computes more to speak of."""
    ratio = one.first.compute / one.second.compute
    return f", at {ratio:.2g} times the compute" if max(ratio, 1 / ratio) > LIKE_COST else ""


def verdict_words(one: Compared) -> str:
    gap = one.gap
    assert gap is not None
    if one.verdict == "unknown" or gap.low is None or gap.high is None:
        return "Whether that holds here takes more seeds"
    if one.verdict == "held":
        differs = f": at most {SMALL:g} point apart" if one.claim.kind == "equal" else ""
        return f"Held here{differs}"
    if one.verdict == "not held":
        turned = one.claim.kind != "equal" and gap.high < 0
        near = one.claim.kind == "far better" and not turned
        return "Not held here" + (": it is the other way round" if turned else
                                  f": less than {SMALL:g} point apart" if near else "")
    return "Cannot be seen at this scale"


def gap_words(gap: Mean) -> str:
    """A difference with its interval: `+0.3 points (-0.4 to +1.0, 3 seeds), no evidence of a difference`."""
    if gap.low is None or gap.high is None:
        return f"{signed(gap.value)} points with one seed, so that chance is unknown"
    nothing = ", no evidence of a difference" if gap.holds(0) else ""
    return f"{signed(gap.value)} points ({signed(gap.low)} to {signed(gap.high)}, {gap.count} seeds){nothing}"


def signed(points: float) -> str:
    """With its sign, and without one that rounding took the reason of: +0.0, never -0.0."""
    return f"{round(points, 1) + 0.0:+.1f}"


def score_words(mean: Mean | None) -> str:
    if mean is None:
        return "not yet"
    if mean.low is None or mean.high is None:
        return f"{mean.value:.1f} %"
    return f"{mean.value:.1f} % ({mean.low:.1f} to {mean.high:.1f}, {mean.count} seeds)"


def listed(words: list[str]) -> str:
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} and {words[-1]}"
