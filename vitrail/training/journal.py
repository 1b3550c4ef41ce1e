"""What happened, as it happens: one JSON line a row in metrics.jsonl, and the same numbers for TensorBoard."""

from __future__ import annotations

import contextlib
import errno
import json
import os
import socket
import time
from pathlib import Path
from typing import Any

from vitrail.errors import SaveError
from vitrail.files import write_text
from vitrail.training.board import image, opening, scalars

JOURNAL = "metrics.jsonl"


class Journal:
    """Appends rows; every row has `step` and `samples`. A failing disk is told once and never stops training: rows
    that find no room are lost, those after them are not."""

    def __init__(self, folder: Path, *, upto_step: int | None = None) -> None:
        """`upto_step`: when a run goes on, rows after its checkpoint are dropped, for they will happen again."""
        self.path = folder / JOURNAL
        self.trouble: str | None = None
        self.resumed, self.begun = upto_step is not None, False
        self.board = folder / "tb" / f"events.out.tfevents.{int(time.time())}.{socket.gethostname()}.{os.getpid()}"
        if upto_step is not None and self.path.exists():
            self._cut(upto_step)

    def _cut(self, upto_step: int) -> None:
        try:
            kept = [row for row in read_journal(self.path) if row["step"] <= upto_step]
            write_text(self.path, "".join(json.dumps(row) + "\n" for row in kept))  # whole, whatever happens meanwhile
        except (SaveError, OSError) as error:
            self.trouble = f"{error} The journal still has rows of steps that are taken again."

    def write(self, row: dict[str, Any]) -> None:
        try:
            append(self.path, (json.dumps(row) + "\n").encode())
            if not self.begun:
                self.board.parent.mkdir(exist_ok=True)
                append(self.board, opening(row["samples"] if self.resumed else None))
                self.begun = True
            append(self.board, scalars(row))
        except OSError as error:
            self.trouble = f"The journal cannot be written ({error.strerror or error}); training goes on without it."

    def picture(self, tag: str, png: bytes, samples: int) -> None:
        """For TensorBoard alone; a run's first row comes before it."""
        try:
            append(self.board, image(tag, png, samples))
        except OSError as error:
            self.trouble = f"TensorBoard's file cannot be written ({error.strerror or error}); training goes on."

    def rows(self) -> list[dict[str, Any]]:
        """All rows so far, none where they cannot be read."""
        with contextlib.suppress(OSError):
            return read_journal(self.path)
        return []


def append(path: Path, data: bytes) -> None:
    """All of it or nothing: half a line would spoil the next one. Raises OSError."""
    with open(path, "ab", buffering=0) as file:
        before = file.tell()
        if file.write(data) < len(data):
            file.truncate(before)
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


class Unwritten(Journal):
    """The journal of a process beside the first one, which writes it for all."""

    def __init__(self) -> None:
        self.trouble = None

    def write(self, row: dict[str, Any]) -> None:
        pass

    def picture(self, tag: str, png: bytes, samples: int) -> None:
        pass


def read_journal(path: Path) -> list[dict[str, Any]]:
    """The rows of a journal, without lines that a crash or a bad disk spoiled."""
    rows = []
    for line in path.read_text(encoding="utf-8", errors="replace").splitlines():
        try:
            row = json.loads(line)
        except ValueError:
            continue
        if isinstance(row, dict) and isinstance(row.get("step"), int):
            rows.append(row)
    return rows
