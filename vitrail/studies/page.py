"""The findings of a study on one page: sentences first, then the figures, then the tables; and the same as Markdown and
as JSON."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from vitrail.files import write_bytes, write_text
from vitrail.inspection.drawing import drawn
from vitrail.report.figures import inline
from vitrail.report.page import environment
from vitrail.studies.asked import option_words
from vitrail.studies.question import Findings

PAGE, TEXT, NUMBERS = "study.html", "study.md", "study.json"


def write_study(out: Path, found: Findings, notes: Sequence[str]) -> list[Path]:
    """Returns what was written, the page first. Raises SaveError."""
    figures = []
    for shown in found.figures:
        for kind in ("svg", "png"):
            figures.append(out / f"{shown.drawing.name}.{kind}")
            write_bytes(figures[-1], drawn(shown.drawing, kind))
    page = environment().get_template("study.html").render(
        found=found, options=option_words(found.options), notes=notes, inline=inline)
    write_text(out / NUMBERS, json.dumps(numbers(found, notes), indent=1) + "\n")
    write_text(out / TEXT, markdown(found, notes))
    write_text(out / PAGE, page)
    return [out / PAGE, out / TEXT, out / NUMBERS, *figures]


def markdown(found: Findings, notes: Sequence[str]) -> str:
    """The figures are the files beside it."""
    options = f"Asked with `{option_words(found.options)}`." if found.options else ""
    parts = [f"# {found.title}", options, *found.sentences, *(f"*{words}*" for words in (*found.doubts, *notes))]
    for shown in found.figures:
        parts += [f"## {shown.heading}", f"![{shown.drawing.words}]({shown.drawing.name}.svg)", shown.caption]
    for table in found.tables:
        lines = (table.columns, ("---",) * len(table.columns), *table.rows)
        parts += [f"## {table.heading}", "\n".join("| " + " | ".join(line) + " |" for line in lines), table.note]
    return "\n\n".join(filter(None, parts)) + "\n"


def numbers(found: Findings, notes: Sequence[str]) -> dict[str, object]:
    return {"title": found.title, "options": dict(found.options), "sentences": list(found.sentences),
            "doubts": list(found.doubts), "notes": list(notes), **found.numbers}
