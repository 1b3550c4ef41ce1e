"""Predictions as JSON Lines, CSV or plain text. File and class names come from outside, so each format defuses them."""

from __future__ import annotations

import csv
import io
import json

from vitrail.evaluation.inputs import Failure
from vitrail.evaluation.predictions import Result


def json_line(result: Result) -> str:
    """`{"path", "top": [{"class", "index", "probability"}]}` or `{"path", "error"}`, in ASCII, without a line end.

    Everything beyond ASCII is escaped: the line survives any locale, and no control character reaches a terminal.
    """
    if isinstance(result, Failure):
        return json.dumps({"path": result.path, "error": result.error})
    top = [{"class": answer.name, "index": answer.index, "probability": answer.probability} for answer in result.top]
    return json.dumps({"path": result.path, "top": top}, allow_nan=False)


def csv_header(top: int) -> str:
    """The first line of the CSV: path, a class and a probability for each rank, error."""
    ranks = [name for rank in range(1, top + 1) for name in (f"class_{rank}", f"probability_{rank}")]
    return csv_line(["path", *ranks, "error"])


def csv_row(result: Result, top: int) -> str:
    """One picture as a line of CSV with the columns of `csv_header(top)`."""
    if isinstance(result, Failure):
        return csv_line([cell(result.path), *[""] * (2 * top), cell(result.error)])
    ranks = [part for answer in result.top[:top] for part in (cell(answer.name), f"{answer.probability:.6g}")]
    return csv_line([cell(result.path), *ranks, *[""] * (2 * top - len(ranks)), ""])


def csv_line(cells: list[str]) -> str:
    buffer = io.StringIO()
    csv.writer(buffer, lineterminator="").writerow(cells)
    return buffer.getvalue()


def cell(text: str) -> str:
    """Text that a spreadsheet takes as text: what would start a formula gets an apostrophe in front."""
    text = text.encode("utf-8", "backslashreplace").decode()
    return f"'{text}" if text[:1] in ("=", "+", "-", "@", "\t", "\r", "\n") else text


def text_line(result: Result) -> str:
    """One picture for a terminal: `path: cat 93.1 %, dog 4.2 %`."""
    if isinstance(result, Failure):
        return printable(f"{result.path}: {result.error}")
    answers = ", ".join(f"{answer.name} {answer.probability:.1%}".replace("%", " %") for answer in result.top)
    return printable(f"{result.path}: {answers}")


def printable(text: str) -> str:
    """`text` with every character escaped that could move a cursor, color a terminal or turn the reading direction."""
    return "".join(character if character.isprintable() else escaped(character) for character in text)


def escaped(character: str) -> str:
    return character.encode("unicode_escape").decode()
