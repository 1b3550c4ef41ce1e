"""What a probe found as one table: a row for each method and setting, a column for each source and for the mean."""

from __future__ import annotations

from vitrail.data.sources.contract import counted
from vitrail.evaluation.writers import printable
from vitrail.transfer.scores import Probed

ABSENT = "-"


def headings(probed: Probed) -> list[str]:
    names = [printable(source.source) for source in probed.sources]
    return ["method", "learned from", *names, *(["mean"] if probed.suite else [])]


def rows(probed: Probed) -> list[list[str]]:
    """Cells as "84.1 % (81.9 to 86.3)"."""
    scores = {(score.source, score.method, score.setting): score for score in probed.scores}
    means = {(score.method, score.setting): score for score in probed.suite}
    table = []
    for method, setting in dict.fromkeys((score.method, score.setting) for score in probed.scores):
        found = [scores.get((source.source, method, setting)) for source in probed.sources]
        learned = sorted({score.images for score in found if score is not None})
        row = [f"{method} {setting}".strip(), images_words(learned)]
        row += [ABSENT if score is None else accuracy_words(score.mean, score.interval) for score in found]
        if probed.suite:
            mean = means.get((method, setting))
            row.append(ABSENT if mean is None else accuracy_words(mean.mean, mean.interval))
        table.append(row)
    return table


def images_words(counts: list[int]) -> str:
    return f"{counts[0]:,} images" if len(counts) == 1 else f"{counts[0]:,} to {counts[-1]:,} images"


def accuracy_words(mean: float, interval: tuple[float, float]) -> str:
    return f"{100 * mean:.1f} % ({100 * interval[0]:.1f} to {100 * interval[1]:.1f})"


def sentences(probed: Probed) -> list[str]:
    """How the intervals are meant, and what could not be read."""
    lines = []
    draws = sorted({len(score.accuracies) for score in probed.scores if score.over == "draws"})
    if draws:
        lines.append(f"Intervals (95 %) of {draws[0]} draws: how far another choice of training images would move the "
                     "mean.")
    if any(score.over == "test images" for score in probed.scores):
        lines.append("Intervals (95 %) of one draw, of draws that agree, or of all training images: how far another "
                     "sample of test images would move it.")
    if probed.suite:
        lines.append("Intervals of the mean: both at once, by bootstrap, for these sources.")
    for source in probed.sources:
        if source.unread:
            first = source.unread[0]
            many = counted(len(source.unread), "picture")
            lines.append(printable(f"{source.source}: {many} could not be read; those of the test count as wrong. "
                                   f"The first: {first.path}: {first.error}."))
    return lines


def markdown(probed: Probed) -> str:
    lines = [line(headings(probed)), "|" + "---|" * len(headings(probed)), *map(line, rows(probed))]
    said = [*sentences(probed), *map(printable, probed.notes)]
    return "\n".join([*lines, "", *(f"- {escape(sentence)}" for sentence in said)]) + "\n"


def line(cells: list[str]) -> str:
    return "| " + " | ".join(map(escape, cells)) + " |"


def escape(text: str) -> str:
    """Nothing that a source is called may end a cell or become a tag."""
    return text.replace("|", "\\|").replace("<", "&lt;").replace("*", "\\*")
