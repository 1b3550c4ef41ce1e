"""Numbers as a person says them."""

from __future__ import annotations

from vitrail.evaluation import Evaluation

SPACE = "\u00a0"
"""Keeps a number and its unit on one line."""


def percent(fraction: float | None, digits: int = 1) -> str:
    """0.874 -> "87.4 %"; a dash where there is no number. Only what is whole is called 0 % or 100 %."""
    if fraction is None:
        return "\u2013"
    if fraction in (0, 1):
        return f"{fraction * 100:.0f}{SPACE}%"
    smallest = 10.0**-digits
    if fraction * 100 < smallest:
        return f"<{SPACE}{smallest:.{digits}f}{SPACE}%"
    if fraction * 100 > 100 - smallest:
        return f">{SPACE}{100 - smallest:.{digits}f}{SPACE}%"
    return f"{fraction * 100:.{digits}f}{SPACE}%"


def duration(seconds: float) -> str:
    """72 -> "1 min 12 s"."""
    if seconds < 9.95:
        return f"{seconds:.1f}{SPACE}s"
    whole = round(seconds)
    hours, minutes, rest = whole // 3600, whole % 3600 // 60, whole % 60
    if hours:
        return f"{hours:,}{SPACE}h {minutes}{SPACE}min"
    return f"{minutes}{SPACE}min {rest}{SPACE}s" if minutes else f"{rest}{SPACE}s"


def short(count: float) -> str:
    """5717416 -> "5.7 million"."""
    for size, name in ((1e12, "trillion"), (1e9, "billion"), (1e6, "million")):
        if count >= size:
            return f"{count / size:.3g}{SPACE}{name}"
    return f"{count:,.0f}"


def counted(count: int, one: str, many: str = "") -> str:
    """(2, "image") -> "2 images"."""
    return f"{count:,}{SPACE}{one if count == 1 else many or one + 's'}"


def clipped(name: str, most: int = 40) -> str:
    """A name short enough for a sentence."""
    return name if len(name) <= most else name[: most - 1].rstrip() + "\u2026"


def headline(evaluation: Evaluation | None, measured_on: str) -> str:
    """The answer in one sentence."""
    if evaluation is None:
        return "No labeled images were set aside, so nothing is measured here."
    images = counted(evaluation.images, f"{measured_on} image")
    if evaluation.multilabel:
        return f"Mean average precision is {percent(evaluation.mean_average_precision)} on {images}."
    return f"The model names {percent(evaluation.top1)} of {images} correctly."


def certainty(evaluation: Evaluation | None) -> str:
    """How sure one can be of the headline, and what to compare it with."""
    if evaluation is None:
        return ""
    if evaluation.multilabel:
        chance = sum(row.images for row in evaluation.per_class) / max(evaluation.images * len(evaluation.classes), 1)
        return f"An order by chance would have {percent(chance)}."
    assert evaluation.interval is not None  # there is one wherever an image has one label
    low, high = evaluation.interval
    frequent = max(evaluation.per_class, key=lambda row: row.images)
    always = (f"Always saying \u201c{clipped(frequent.name)}\u201d would be right for "
              f"{percent(frequent.images / evaluation.images)}.")
    if evaluation.top1 not in (0, 1):
        return f"With other images of the same kind it would be {percent(low)} to {percent(high)} " \
               f"(95{SPACE}% interval). {always}"
    if evaluation.top1 == 1:
        return f"So few images cannot show more than that it is above {percent(low)}. {always}"
    return f"So few images cannot show more than that it is below {percent(high)}. {always}"
