"""Manifests: a table that names each picture and its label, and perhaps its split.

    path,label,split          CSV (also ; or tab), JSON Lines or Parquet
    a/1.jpg,cat,train         paths are relative to the manifest, or absolute
    a/2.jpg,cat|dog,val       one cell with `|` (or one JSON list) makes the whole source multi-label

Without a column of labels, or with an empty cell in it, it is a source for learning without labels.
Labels that are all whole numbers are names too, ordered as numbers; other names are ordered as strings.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from vitrail.data.source import Source
from vitrail.data.sources.assemble import assemble
from vitrail.data.sources.contract import Listing, Request, counted
from vitrail.data.sources.layout import SPLIT_NAMES
from vitrail.data.sources.readers import MAX_BYTES, FileReader
from vitrail.data.sources.tables import READERS, Table
from vitrail.errors import DataError

PATH_COLUMNS = ("path", "file_name", "filename", "file", "image", "image_path")
LABEL_COLUMNS = ("label", "labels", "class", "class_name", "target")
SPLIT_COLUMNS = ("split", "subset", "partition")


@dataclass
class Rows:
    """The three columns as text: `labels` is a tuple of names a row, `splits` None where there is no such column."""

    paths: list[str]
    labels: list[tuple[str, ...]]
    splits: list[str] | None
    numbers: list[int]
    multilabel: bool


def recognizes(request: Request) -> bool:
    return request.path.is_file() and request.path.suffix.lower() in READERS


def open_manifest(request: Request) -> Source:
    """Open a manifest. Raises DataError naming the rows that are wrong; rows whose file is missing are left out."""
    table = READERS[request.path.suffix.lower()](request.path)
    rows = read_rows(table, request.spec, request.labeled)
    folder = os.path.dirname(os.path.expanduser(request.spec))
    repeated = drop_repeated(rows, request.spec)
    unusable, sizes = drop_unusable(rows, folder, request.spec)
    names = [os.path.join(folder, path) for path in rows.paths]
    labels = rows.labels if rows.multilabel else [label for label, in rows.labels]
    listing = Listing(names, rows.paths, labels, rows.splits, np.array(sizes, np.int64), FileReader(names),
                      rows.multilabel, numeric_order=True, warnings=[*repeated, *unusable])
    many = ", several labels a picture" if rows.multilabel else ""
    splits = ", with splits of its own" if rows.splits else ""
    free = "" if any(any(names) for names in rows.labels) else ", without labels"
    return assemble(listing, request, f"manifest ({request.path.suffix[1:].lower()}{many}{splits}{free})")


def read_rows(table: Table, spec: str, labeled: bool = True) -> Rows:
    """Find the columns and turn every cell into names. Unless pictures have to be `labeled`, one without a label counts
    too, and then none of them has one."""
    if not table.numbers:
        raise DataError(f"{spec} has no rows below its header.")
    paths = [cell if isinstance(cell, str) else "" for cell in column(table, PATH_COLUMNS, spec)]
    refuse_rows(table, [row for row, path in enumerate(paths) if not path.strip()], spec,
                "no path in text form; a picture inside the table cannot be read from it")
    refuse_rows(table, [row for row, path in enumerate(paths) if "://" in path], spec,
                "a URL, and nothing is fetched")
    refuse_rows(table, [row for row, path in enumerate(paths) if "\0" in path], spec, "a path with a zero byte")
    free = not labeled and not any(name in table.columns for name in LABEL_COLUMNS)
    cells = [""] * len(paths) if free else column(table, LABEL_COLUMNS, spec)
    multilabel = any(isinstance(cell, (list, tuple)) or (isinstance(cell, str) and "|" in cell) for cell in cells)
    labels = [names_in(cell, spec, number) for cell, number in zip(cells, table.numbers, strict=True)]
    if not labeled and not multilabel and not all(labels):
        labels = [("",) for _ in labels]
    if not multilabel:
        refuse_rows(table, [row for row, names in enumerate(labels) if not names], spec, "no label")
    present = next((name for name in SPLIT_COLUMNS if name in table.columns), None)
    splits = None if present is None else split_column(table, present, spec)
    return Rows(paths, labels, splits, list(table.numbers), multilabel)


def column(table: Table, names: Sequence[str], spec: str) -> list[Any]:
    for name in names:
        if name in table.columns:
            return table.columns[name]
    raise DataError(f"{spec} has no column {names[0]!r}. It has {', '.join(map(repr, table.columns)) or 'none'}; "
                    f"accepted are {', '.join(map(repr, names))}. The first line names the columns: "
                    "path,label[,split]." + (" Without labels, learn by vitrail pretrain." if names is LABEL_COLUMNS
                                             else ""))


def names_in(cell: Any, spec: str, number: int) -> tuple[str, ...]:
    """The labels of one cell as names: 3 -> ("3",), "cat|dog" -> ("cat", "dog"), "" or null -> ()."""
    if cell is None or (isinstance(cell, float) and np.isnan(cell)):
        return ()
    if isinstance(cell, (list, tuple)):
        return tuple(dict.fromkeys(name for part in cell for name in names_in(part, spec, number)))
    if isinstance(cell, bool | np.bool_):
        return ("true" if cell else "false",)
    if isinstance(cell, float) and cell.is_integer():
        return (str(int(cell)),)
    if not isinstance(cell, str | int):
        raise DataError(f"{spec}, row {number}: {type(cell).__name__} cannot be a label. Names, whole numbers and "
                        "lists of them are allowed.")
    return tuple(dict.fromkeys(name.strip() for name in str(cell).split("|") if name.strip()))


def split_column(table: Table, name: str, spec: str) -> list[str] | None:
    cells = ["" if cell is None else str(cell).strip().lower() for cell in table.columns[name]]
    if not any(cells):
        return None
    wrong = [row for row, cell in enumerate(cells) if cell not in SPLIT_NAMES]
    what = f"the split {cells[wrong[0]]!r}; allowed are {', '.join(SPLIT_NAMES)}" if wrong else ""
    refuse_rows(table, wrong, spec, what)
    return [SPLIT_NAMES[cell] for cell in cells]


def refuse_rows(table: Table, rows: list[int], spec: str, what: str) -> None:
    if rows:
        has, them = ("has", "it") if len(rows) == 1 else ("have", "them")
        raise DataError(f"{spec}: {row_list([table.numbers[row] for row in rows])} {has} {what}. "
                        f"Correct or remove {them}.")


def row_list(numbers: list[int]) -> str:
    """row 3; rows 3, 4, 5 and 2 more"""
    shown = ", ".join(map(str, numbers[:5]))
    more = f" and {len(numbers) - 5} more" if len(numbers) > 5 else ""
    return f"row{'s' if len(numbers) > 1 else ''} {shown}{more}"


def drop_repeated(rows: Rows, spec: str) -> list[str]:
    """Keep the first of rows that say the same about the same picture; raise DataError where they disagree."""
    first: dict[str, int] = {}
    repeated = []
    for row, path in enumerate(rows.paths):
        plain = os.path.normpath(path)
        other = first.setdefault(plain, row)
        if other == row:
            continue
        same_split = rows.splits is None or rows.splits[row] == rows.splits[other]
        if rows.labels[row] != rows.labels[other] or not same_split:
            raise DataError(f"{spec}: rows {rows.numbers[other]} and {rows.numbers[row]} both name {path!r} but differ "
                            "in label or split. Several labels stand in one row, joined by `|`.")
        repeated.append(row)
    numbers = [rows.numbers[row] for row in repeated]
    keep_only(rows, set(repeated))
    return [f"{counted(len(numbers), 'repeated row')} left out: {row_list(numbers)}."] if numbers else []


def drop_unusable(rows: Rows, folder: str, spec: str) -> tuple[list[str], list[int]]:
    """Leave out rows whose file is missing or can never be read; warnings, and the size of each file that is left.

    Raises DataError where no file is left.
    """
    sizes = []
    wrong: dict[str, list[int]] = {}
    for row, path in enumerate(rows.paths):
        size, trouble = look_at(os.path.join(folder, path))
        if trouble:
            wrong.setdefault(trouble, []).append(row)
        else:
            sizes.append(size)
    if not sizes:
        trouble, some = next(iter(wrong.items()))
        raise DataError(f"{spec}: none of its {counted(len(rows.paths), 'picture')} can be read; "
                        f"{row_list([rows.numbers[row] for row in some])}: {trouble}. Paths are relative to the folder "
                        f"of the manifest: {os.path.join(folder, rows.paths[some[0]])!r} was looked for.")
    warnings = [f"{len(some):,} x {trouble}, left out: {row_list([rows.numbers[row] for row in some])} "
                f"({rows.paths[some[0]]!r})." for trouble, some in sorted(wrong.items())]
    keep_only(rows, {row for some in wrong.values() for row in some})
    return warnings, sizes


def look_at(path: str) -> tuple[int, str]:
    """The size of a file in bytes, and why it can never be read ("" where it can)."""
    try:
        status = os.stat(path)
    except (OSError, ValueError):
        return 0, "dangling link" if os.path.islink(path) else "missing file"
    if not stat.S_ISREG(status.st_mode):
        return 0, "folder, pipe, socket or device"
    if status.st_size > MAX_BYTES:
        return 0, f"file above {MAX_BYTES >> 20} MB"
    return status.st_size, "" if status.st_size else "file of zero bytes"


def keep_only(rows: Rows, dropped: set[int]) -> None:
    """Remove rows in place."""
    kept = [row for row in range(len(rows.paths)) if row not in dropped]
    rows.paths, rows.labels = [rows.paths[row] for row in kept], [rows.labels[row] for row in kept]
    rows.numbers = [rows.numbers[row] for row in kept]
    rows.splits = None if rows.splits is None else [rows.splits[row] for row in kept]
