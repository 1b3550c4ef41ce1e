"""vitrail compare RUN RUN..."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from vitrail.errors import UsageError

if TYPE_CHECKING:
    from vitrail.comparison import Comparison

WIDE = 100_000
"""Columns where there is no terminal: a file or a pipe takes lines of any length."""


def compare(
    *runs: Path,
    json: Annotated[bool, Parameter(negative=())] = False,
    markdown: Annotated[bool, Parameter(negative=())] = False,
) -> int:
    """Put runs side by side: what came out, in what they differed, and whether one is better by more than chance.

        vitrail compare runs/first runs/second

        vitrail compare runs/ --markdown > results.md

    Parameters
    ----------
    runs
        Run folders, also of runs that are not finished; Bundles; folders with runs in them.
    json
        Print everything as JSON on stdout.
    markdown
        Print the table in Markdown on stdout.
    """
    from vitrail import comparison

    if json and markdown:
        raise UsageError("Give one of --json and --markdown: each is a form of the same.")
    if not runs:
        raise UsageError("Nothing to compare. Give two or more runs: vitrail compare runs/first runs/second")
    found = comparison.compare(*runs)
    if json:
        print(found.model_dump_json())
    elif markdown:
        from vitrail.comparison.table import markdown as written

        print(written(found), end="")
    else:
        show(found)
    return 0


def show(found: Comparison) -> None:
    from rich.box import SIMPLE_HEAD
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    from vitrail.comparison.table import differing, headings, outcomes, sentences

    console = Console(highlight=False)
    if not console.is_terminal:
        console = Console(highlight=False, width=WIDE)
    table = Table(box=SIMPLE_HEAD, pad_edge=False)
    for heading in ("", *headings(found)):
        table.add_column(Text(heading), overflow="fold")
    for rows in (outcomes(found), differing(found)):
        for label, cells in rows:
            table.add_row(Text(label, style="bold"), *map(Text, cells), end_section=label == rows[-1][0])
    console.print(table)
    for line in sentences(found):
        console.print(Text(line), soft_wrap=True)
