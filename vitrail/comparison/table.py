"""A comparison as one table: what came out above, what differed below, a column for each run."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from vitrail.briefing import duration
from vitrail.comparison.reading import RunFacts, Score, as_text
from vitrail.comparison.side_by_side import Comparison
from vitrail.evaluation.frozen.trials import probe_name
from vitrail.evaluation.writers import printable

ABSENT = "-"
BEST = " (best)"

Row = tuple[str, list[str]]

OUTCOMES: dict[str, Callable[[RunFacts], str | None]] = {
    "state": lambda run: run.state,
    "test": lambda run: score_words(run.scores.get("test")),
    "val": lambda run: score_words(run.scores.get("val")),
    "test loss": lambda run: number(run.scores["test"].loss if "test" in run.scores else run.losses.get("test")),
    "val loss": lambda run: number(run.scores["val"].loss if "val" in run.scores else run.losses.get("val")),
    "train loss": lambda run: number(run.train_loss),
    "steps": lambda run: f"{run.step:,}",
    "samples": lambda run: f"{run.samples:,}",
    "epochs": lambda run: number(run.epochs),
    "best epoch": lambda run: number(run.best_epoch),
    "training": lambda run: None if run.seconds is None else duration(run.seconds),
    "images/s": lambda run: None if run.images_per_second is None else f"{run.images_per_second:,.0f}",
}


def headings(comparison: Comparison) -> list[str]:
    """A name for each column; the best one is marked."""
    names = [printable(name) for name in comparison.names]
    return [names[0] + BEST if comparison.ranked_by else names[0], *names[1:]]


def outcomes(comparison: Comparison) -> list[Row]:
    """Rows that at least one run can fill."""
    rows = [(label, [value(run) for run in comparison.runs]) for label, value in OUTCOMES.items()]
    probes = dict.fromkeys(key for run in comparison.runs for key in run.probes)
    rows += [(f"frozen, {probe_name(key)}", [percent(run.probes.get(key)) for run in comparison.runs])
             for key in probes]
    return [(label, [cell or ABSENT for cell in cells]) for label, cells in rows if any(cells)]


def differing(comparison: Comparison) -> list[Row]:
    return [(printable(key), [setting(value) for value in values]) for key, values in comparison.differences.items()]


def sentences(comparison: Comparison) -> list[str]:
    """What may be said of the scores, and what to know beside."""
    alike = [] if comparison.differences else ["nothing differed: neither settings nor circumstances."]
    return [printable(line) for line in (*comparison.verdict, *alike, *comparison.notes)]


def markdown(comparison: Comparison) -> str:
    """The table and the sentences below it."""
    lines = [row_of("", headings(comparison)), "|" + "---|" * (len(comparison.runs) + 1)]
    lines += [row_of(*row) for row in outcomes(comparison)]
    lines += [row_of(f"`{label}`", cells) for label, cells in differing(comparison)]
    return "\n".join([*lines, "", *(f"- {escape(line)}" for line in sentences(comparison))]) + "\n"


def row_of(label: str, cells: list[str]) -> str:
    return "| " + " | ".join(escape(cell) for cell in (label, *cells)) + " |"


def escape(text: str) -> str:
    """Nothing that a run is called may end a cell or become a tag."""
    return text.replace("|", "\\|").replace("<", "&lt;").replace("*", "\\*")


def score_words(score: Score | None) -> str | None:
    """"84.1 % (81.9 to 86.3) of 1,000"."""
    if score is None:
        return None
    interval = f" ({100 * score.interval[0]:.1f} to {100 * score.interval[1]:.1f})" if score.interval else ""
    kind = "" if score.kind == "top1" else " mean average precision"
    images = f" of {score.images:,}" if score.images else ""
    return f"{100 * score.value:.1f} %{kind}{interval}{images}"


def percent(value: float | None) -> str | None:
    return None if value is None else f"{100 * value:.1f} %"


def number(value: float | None) -> str | None:
    return None if value is None else f"{value:.4g}"


def setting(value: Any) -> str:
    return ABSENT if value is None else printable(as_text(value))
