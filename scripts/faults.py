"""Write `docs/faults.md`: what can go wrong, what vitrail does about it, and the test that proves it.

    python scripts/faults.py

A test says which fault it is about by `@pytest.mark.fault("R1", "What vitrail does.")`. The tests are read, not run.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "faults.md"

FAULTS = {
    "R1": "killed while a checkpoint is written", "R2": "the newest checkpoint is damaged", "R3": "the disk is full",
    "R4": "SIGTERM, SIGINT or SIGUSR1", "R5": "interrupted, and gone on with",
    "R6": "gone on with by another number of processes or workers", "R7": "NaN or infinity",
    "R8": "a checkpoint that does not belong to the model", "R9": "deleting older checkpoints fails",
    "R10": "two runs in one folder", "R11": "one of several processes dies or freezes",
    "R12": "a data worker fails or runs out of memory", "R13": "shared memory left by a crash",
    "R14": "the clock jumps, the log's disk is full, the output's reader is gone",
    "D1": "a picture that cannot be read", "D2": "a picture cut short",
    "D3": "empty files, dangling links, folders and pipes called like pictures", "D4": "decompression bombs",
    "D5": "CMYK, 16 bits, palettes, alpha, animations, EXIF",
    "D6": "classes that collide, are empty, or are missing in a split", "D7": "damaged shards",
    "D8": "hostile archives", "D9": "the same picture in train and val", "D10": "the data changed between runs",
}

OPENING = """# What vitrail does when something goes wrong

Written by `python scripts/faults.py` from the tests: each sentence is the promise of the test beside it, and a test
compares this page with them.

| fault | what vitrail does | proved by |
|---|---|---|
"""


class Proof(NamedTuple):
    """One mark of one test. `test` is as pytest takes it, below `tests/`."""

    row: str
    behavior: str
    test: str


def proofs(path: Path, name: str) -> Iterator[Proof]:
    """The marks in one file of tests, which is called `name` on the page. Raises ValueError for a mark that names no
    known fault or is not two plain strings."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        for mark in node.decorator_list if isinstance(node, ast.FunctionDef) else ():
            if not isinstance(mark, ast.Call) or ast.unparse(mark.func) != "pytest.mark.fault":
                continue
            words = [argument.value for argument in mark.args if isinstance(argument, ast.Constant)]
            if len(words) != 2 or words[0] not in FAULTS or not all(isinstance(word, str) for word in words):
                raise ValueError(f"{name}::{node.name}: a mark is fault(row, behavior) with a row of {list(FAULTS)}")
            yield Proof(str(words[0]), str(words[1]), f"{name}::{node.name}")


def all_proofs(tests: Path = ROOT / "tests") -> list[Proof]:
    """Those of all tests, in the order of the faults, and of files and lines within each."""
    rows = list(FAULTS)
    found = [proof for path in sorted(tests.rglob("test_*.py"))
             for proof in proofs(path, path.relative_to(tests).as_posix())]
    return sorted(found, key=lambda proof: rows.index(proof.row))


def page(found: list[Proof]) -> str:
    lines = []
    for number, proof in enumerate(found):
        first = number == 0 or found[number - 1].row != proof.row
        fault = f"**{proof.row}** {FAULTS[proof.row]}" if first else ""
        lines.append(f"| {fault} | {proof.behavior} | `{proof.test}` |")
    return OPENING + "\n".join(lines) + "\n"


if __name__ == "__main__":
    PAGE.write_text(page(all_proofs()), encoding="utf-8")
