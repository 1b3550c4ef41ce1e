"""Tables of text from CSV, JSON Lines and Parquet: columns by name, with the row numbers a person would count."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vitrail.errors import DataError


@dataclass(frozen=True)
class Table:
    """`columns[name][i]` is the cell of row i; `numbers[i]` is its line in the file, or its row for Parquet."""

    columns: dict[str, list[Any]]
    numbers: list[int]


def read_csv(path: Path) -> Table:
    """A CSV file in UTF-8 (BOM or not), separated by comma, semicolon or tab, whichever its header has most."""
    text = read_text(path)
    header = text.split("\n", 1)[0]
    separator = max(",;\t", key=header.count)
    rows = csv.reader(io.StringIO(text, newline=""), delimiter=separator, strict=True)
    names: list[str] = []
    cells: list[list[str]] = []
    numbers: list[int] = []
    try:
        for row in rows:
            if not row:
                continue
            if not names:
                names = [name.strip() for name in row]
            elif len(row) != len(names):
                raise DataError(f"{path}, line {rows.line_num}: {len(row)} cells, but the header has {len(names)}. "
                                "Put cells that hold the separator into quotation marks.")
            else:
                cells.append(row)
                numbers.append(rows.line_num)
    except csv.Error as error:
        raise DataError(f"{path}, line {rows.line_num}: {error}.") from error
    return Table({name: [row[index] for row in cells] for index, name in enumerate(names)}, numbers)


def read_json_lines(path: Path) -> Table:
    """A file with one JSON object a line; a key that a line lacks is null there."""
    objects: list[dict[str, Any]] = []
    numbers: list[int] = []
    for number, line in enumerate(read_text(path).split("\n"), 1):
        if not line.strip():
            continue
        try:
            value = json.loads(line)
        except (ValueError, RecursionError) as error:
            raise DataError(f"{path}, line {number} is not JSON ({error}).") from error
        if not isinstance(value, dict):
            raise DataError(f"{path}, line {number} is not an object. Write {{\"path\": ..., \"label\": ...}}.")
        objects.append(value)
        numbers.append(number)
    names = list(dict.fromkeys(name for value in objects for name in value))
    return Table({name: [value.get(name) for value in objects] for name in names}, numbers)


def read_parquet(path: Path) -> Table:
    """A Parquet file; rows are counted from 1."""
    # Imported here: pyarrow takes longer to import than everything else in this package.
    import pyarrow
    import pyarrow.parquet

    try:
        table = pyarrow.parquet.ParquetFile(path).read()
    except (pyarrow.ArrowException, OSError, ValueError) as error:
        raise DataError(f"{path} cannot be read as Parquet ({error}).") from error
    columns = {name: table.column(name).to_pylist() for name in table.column_names}
    return Table(columns, list(range(1, table.num_rows + 1)))


def read_text(path: Path) -> str:
    try:
        return path.read_bytes().decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise DataError(f"{path} is not UTF-8 text (byte {error.start:,}). Save it as UTF-8.") from error
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror}.") from error


READERS: dict[str, Callable[[Path], Table]] = {
    ".csv": read_csv, ".tsv": read_csv, ".jsonl": read_json_lines, ".ndjson": read_json_lines,
    ".parquet": read_parquet}
