"""What happened, as it happens: one JSON line a row in metrics.jsonl, and the same numbers for TensorBoard."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from vitrail.errors import SaveError
from vitrail.files import write_text

JOURNAL = "metrics.jsonl"


class Journal:
    """Appends rows; every row has `step` and `samples`. A failing disk is told once and never stops training."""

    def __init__(self, folder: Path, *, upto_step: int | None = None) -> None:
        """`upto_step`: when a run goes on, rows after its checkpoint are dropped, for they will happen again."""
        self.path = folder / JOURNAL
        self.trouble: str | None = None
        if upto_step is not None and self.path.exists():
            self._cut(upto_step)
        self.board = self._open_board(folder / "tb", upto_step)

    def _cut(self, upto_step: int) -> None:
        kept = [row for row in read_journal(self.path) if row["step"] <= upto_step]
        try:
            write_text(self.path, "".join(json.dumps(row) + "\n" for row in kept))  # whole, whatever happens meanwhile
        except SaveError as error:
            self.trouble = f"{error} The journal still has rows of steps that are taken again."

    def _open_board(self, folder: Path, purge: int | None) -> Any:
        from torch.utils.tensorboard import SummaryWriter  # slow to import, so only where a run starts

        try:
            return SummaryWriter(str(folder), purge_step=purge)
        except OSError as error:
            self.trouble = f"TensorBoard files cannot be written ({error}); metrics.jsonl has the same numbers."
            return None

    def write(self, row: dict[str, Any]) -> None:
        try:
            with open(self.path, "a", encoding="utf-8") as file:
                file.write(json.dumps(row) + "\n")
            if self.board is not None:
                for tag, value in row.items():
                    if isinstance(value, int | float) and "/" in tag:
                        self.board.add_scalar(tag, value, row["samples"])
                self.board.flush()
        except OSError as error:
            self.trouble = f"The journal cannot be written ({error.strerror or error}); training goes on without it."

    def close(self) -> None:
        if self.board is not None:
            self.board.close()


class Unwritten(Journal):
    """The journal of a process beside the first one, which writes it for all."""

    def __init__(self) -> None:
        self.trouble, self.board = None, None

    def write(self, row: dict[str, Any]) -> None:
        pass


def read_journal(path: Path) -> list[dict[str, Any]]:
    """The rows of a journal; a last line that a crash cut short is left out."""
    rows = []
    for line in path.read_text(encoding="utf-8").splitlines():
        try:
            rows.append(json.loads(line))
        except json.JSONDecodeError:
            break
    return rows
