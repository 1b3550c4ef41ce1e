"""Ledger: what was trained already, a line for each finished cell, never changed and never lost.

    STUDIES/ledger.jsonl      one JSON object a line: the cell's key, what it is, what came out, what it cost
           /cells/KEY/        the run of a cell, while it goes and after
           /cells/.KEY/.lock  held by who trains it (the run's own lock comes and goes with the run)

Several workers, on one machine or on several that share the folder, may work on it at once. A cell belongs to who holds
its lock, and the system gives that back when its holder dies, however it dies.
"""

from __future__ import annotations

import contextlib
import json
import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vitrail.errors import DataError, RunError, SaveError
from vitrail.files import append_line
from vitrail.training.guard import sole_owner

LEDGER, CELLS = "ledger.jsonl", "cells"

Row = dict[str, Any]


@dataclass(frozen=True)
class Ledger:
    """All studies of one `folder` share it, so that none trains what another one did."""

    folder: Path

    @property
    def path(self) -> Path:
        return self.folder / LEDGER

    def rows(self) -> dict[str, Row]:
        """Finished cells by their key; the first of several lines of one, which ledgers that were put together may
        have. A last line that a crash cut short is no row; raises DataError for any other line that is none."""
        try:
            lines = self.path.read_bytes().split(b"\n")
        except (FileNotFoundError, NotADirectoryError):
            return {}
        except OSError as error:
            raise DataError(f"{self.path} cannot be read as a ledger: {error.strerror}. It is a file with a line for "
                            "each finished run.") from None
        found: dict[str, Row] = {}
        for number, line in enumerate(lines, start=1):
            if not line.strip():
                continue
            try:
                row = valid(json.loads(line))
                found.setdefault(row["key"], row)
            except (ValueError, TypeError, KeyError):
                if number == len(lines) or cut_short(line):
                    continue
                begun = line[:60].decode(errors="replace")
                raise DataError(f"{self.path}, line {number} is no row of a ledger: {begun!r}. Take the line away, and "
                                "its cell is trained again.") from None
        return found

    def append(self, row: Row) -> None:
        """On the disk when this returns. Raises SaveError."""
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            before = self.path.read_bytes() if self.path.exists() else b""
            torn = bool(before) and not before.endswith(b"\n")
            append_line(self.path, "\n" * torn + json.dumps(row))
        except OSError as error:
            raise SaveError(f"Cannot write to {self.path}: {error.strerror or error}. The cell is trained; free some "
                            "space and start the study again, and it takes the result.") from None

    def place(self, key: str) -> Path:
        """The run folder of a cell."""
        return self.folder / CELLS / key


def valid(row: Row) -> Row:
    """The row. Raises KeyError, TypeError or ValueError where it does not tell what came out and what that cost."""
    result = row["result"]
    if "diverged" in result:
        return row
    test, cost = result["test"], row["cost"]
    accuracies = [test["top1"], *(value for _, value in result.get("val", []))]
    if not all(0 <= value <= 1 for value in accuracies) or not test["images"] >= 1:
        raise ValueError("no accuracy")
    if not all(0 <= cost[name] < math.inf for name in ("samples", "seconds", "exaflops")):
        raise ValueError("no cost")
    return row


def cut_short(line: bytes) -> bool:
    """Whether a line is the beginning of a row, as a crash leaves it; the next row then stands on a line of its own."""
    return line.startswith(b"{") and not line.endswith(b"}")


@contextlib.contextmanager
def only_worker(ledger: Ledger, key: str) -> Iterator[bool]:
    """Whether the cell is ours, for as long as this lasts: nobody else trains it, and nobody finished it meanwhile."""
    with contextlib.ExitStack() as held:
        try:
            held.enter_context(sole_owner(ledger.folder / CELLS / f".{key}"))
        except RunError:
            yield False
            return
        yield key not in ledger.rows()
