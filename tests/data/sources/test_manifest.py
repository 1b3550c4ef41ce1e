"""Manifests: the three formats, several labels, and rows that are wrong."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pyarrow
import pyarrow.parquet
import pytest

from vitrail.data.source import open_source
from vitrail.errors import DataError

ROWS = [(f"{label}/{row}.png", label) for label in ("cat", "dog") for row in range(10)]


@pytest.fixture
def table(plant):
    """`table("list.csv", text)` writes a manifest beside twenty pictures of cats and dogs."""
    root = plant(cat=10, dog=10)

    def write(name: str, text: str | bytes) -> str:
        (root / name).write_bytes(text.encode() if isinstance(text, str) else text)
        return str(root / name)
    return write


def csv_of(rows, header="path,label") -> str:
    return "\n".join([header, *(",".join(map(str, row)) for row in rows)]) + "\n"


def labels_of(source, split: str) -> dict[str, list[str]]:
    part = source.splits[split]
    given = [[label] for label in part.labels] if part.labels.ndim == 1 else map(np.flatnonzero, part.labels)
    return {"/".join(name.split("/")[-2:]): [source.classes[index] for index in indices]
            for name, indices in zip(part.names, given, strict=True)}


@pytest.mark.parametrize("header", ["path,label", "file_name,label", "filename,labels", "image,class",
                                    "\ufeffpath,label", "label_extra,path,label"])
def test_csv_with_the_usual_column_names(table, header):
    rows = [("x", *row) for row in ROWS] if header.startswith("label_extra") else ROWS
    source = open_source(table("list.csv", csv_of(rows, header)))
    assert source.classes == ("cat", "dog")
    assert {name: len(split) for name, split in source.splits.items()} == {"train": 16, "val": 2, "test": 2}
    for split in source.splits:
        assert all([name.split("/")[0]] == labels for name, labels in labels_of(source, split).items())
    first = source.splits["train"]
    assert first.read(0) == Path(first.names[0]).read_bytes()


@pytest.mark.parametrize("separator", [";", "\t"])
def test_other_separators(table, separator):
    assert open_source(table("list.csv", csv_of(ROWS).replace(",", separator))).classes == ("cat", "dog")


def test_quoted_cells_and_windows_line_ends(table):
    text = csv_of([(f'"{path}"', '"big, old ""cat"""' if label == "cat" else "dog") for path, label in ROWS])
    assert open_source(table("list.csv", text.replace("\n", "\r\n"))).classes == ('big, old "cat"', "dog")


def test_the_split_column(table):
    splits = ["train", "train", "train", "train", "train", "train", "valid", "VAL", "test", "Test"] * 2
    source = open_source(table("list.csv", csv_of([(*row, s) for row, s in zip(ROWS, splits, strict=True)],
                                                  "path,label,split")))
    assert {name: np.bincount(split.labels).tolist() for name, split in source.splits.items()} == {
        "train": [6, 6], "val": [2, 2], "test": [2, 2]}


def test_absolute_paths_and_paths_upward(table, tmp_path):
    rows = [(tmp_path / "photos" / path, label) for path, label in ROWS[:10]]
    rows += [(f"../photos/{path}", label) for path, label in ROWS[10:]]
    assert sum(map(len, open_source(table("list.csv", csv_of(rows))).splits.values())) == 20


def test_json_lines(table):
    text = "\n".join(json.dumps({"file_name": path, "label": label}) for path, label in ROWS)
    assert open_source(table("list.jsonl", text)).classes == ("cat", "dog")


def test_parquet(table):
    path = table("list.parquet", "")
    columns = {"path": [path for path, _ in ROWS], "label": [row % 11 for row in range(20)],
               "split": ["train"] * 11 + ["val"] * 9}
    pyarrow.parquet.write_table(pyarrow.table(columns), path)
    source = open_source(path)
    assert source.classes == tuple(map(str, range(11)))
    assert labels_of(source, "val")["dog/2.png"] == ["1"]


def test_whole_numbers_are_names_in_the_order_of_numbers(table):
    rows = [(path, row % 12) for row, (path, _) in enumerate(ROWS)]
    assert open_source(table("list.csv", csv_of(rows)), divide=False).classes == tuple(map(str, range(12)))


@pytest.mark.parametrize("form", ["csv", "jsonl", "parquet"])
def test_several_labels(table, form):
    cells = {"cat/0.png": ["small", "young"], "cat/1.png": [], "cat/2.png": ["young"], "dog/0.png": ["old"],
             "dog/1.png": ["old", "small"]}
    splits = ["train", "train", "val", "train", "val"]
    rows = list(zip(cells, cells.values(), splits, strict=True))
    if form == "csv":
        path = table("list.csv", csv_of([(name, "|".join(labels), split) for name, labels, split in rows],
                                        "path,label,split"))
    elif form == "jsonl":
        path = table("list.jsonl", "\n".join(json.dumps(dict(zip(("path", "labels", "split"), row, strict=True)))
                                             for row in rows))
    else:
        path = table("list.parquet", "")
        columns = dict(zip(("path", "labels", "split"), map(list, zip(*rows, strict=True)), strict=True))
        pyarrow.parquet.write_table(pyarrow.table(columns), path)
    source = open_source(path)
    assert source.multilabel
    assert source.classes == ("old", "small", "young")
    assert source.splits["train"].labels.dtype == np.float32
    assert source.splits["train"].labels.tolist() == [[0, 1, 1], [0, 0, 0], [1, 0, 0]]
    assert source.splits["val"].labels.tolist() == [[0, 0, 1], [1, 1, 0]]


def test_a_label_that_only_val_has_is_an_error(table):
    rows = [(path, "a|b" if row % 2 else "a", "train") for row, (path, _) in enumerate(ROWS[:5])]
    with pytest.raises(DataError, match="train lacks: 'c'"):
        open_source(table("list.csv", csv_of([*rows, ("dog/0.png", "a|c", "val")], "path,label,split")))


def test_missing_files_are_left_out_with_their_rows(table):
    rows = [*ROWS, ("cat/gone.png", "cat"), ("cat", "cat")]
    source = open_source(table("list.csv", csv_of(rows)))
    assert sum(map(len, source.splits.values())) == 20
    text = "\n".join(source.warnings)
    assert "1 x missing file, left out: row 22 ('cat/gone.png')" in text
    assert "1 x folder, pipe, socket or device, left out: row 23" in text


def test_repeated_rows(table):
    source = open_source(table("list.csv", csv_of([*ROWS, ("cat/../cat/3.png", "cat")])))
    assert any("1 repeated row left out: row 22" in warning for warning in source.warnings)
    with pytest.raises(DataError, match=r"rows 5 and 22 both name 'cat/3\.png'"):
        open_source(table("list.csv", csv_of([*ROWS, ("cat/3.png", "dog")])))


@pytest.mark.parametrize(("name", "text", "message"), [
    ("a.csv", "", "no rows"),
    ("a.csv", "path,label\n", "no rows"),
    ("a.csv", "picture,label\nx,y\n", r"no column 'path'\. It has 'picture', 'label'"),
    ("a.csv", "path,name\nx,y\n", "no column 'label'"),
    ("a.csv", "path,label\ncat/0.png,cat\ncat/1.png\n", "line 3: 1 cells, but the header has 2"),
    ("a.csv", "path,label\ncat/0.png,cat\ncat/1.png,\n,dog\n", "row 4 has no path"),
    ("a.csv", "path,label\ncat/0.png,cat\ncat/1.png,\n", "row 3 has no label"),
    ("a.csv", "path,label\nx.png,cat\ny.png,dog\n", "none of its 2 pictures can be read; rows 2, 3: missing file"),
    ("a.csv", "path,label\nhttp://x/y.png,cat\n", "row 2 has a URL"),
    ("a.csv", "path,label,split\ncat/0.png,cat,train\ncat/1.png,cat,foo\n", "row 3 has the split 'foo'"),
    ("a.csv", "path,label,split\ncat/0.png,cat,train\ncat/1.png,cat,\n", "row 3 has the split ''"),
    ("a.csv", b"path,label\ncat/0.png,\xff\n", "not UTF-8"),
    ("a.csv", 'path,label\n"cat/0.png,cat\n', "line 2"),
    ("a.csv", "path,label\ncat/0.png,cat\ncat/1.png,cat\n", "'cat' as its only class"),
    ("a.jsonl", '{"path": "cat/0.png"\n', "line 1 is not JSON"),
    ("a.jsonl", "[" * 100_000 + "\n", "line 1 is not JSON"),
    ("a.jsonl", "\n[1, 2]\n", "line 2 is not an object"),
    ("a.jsonl", '{"path": "cat/0.png", "label": {"a": 1}}\n', "row 1: dict cannot be a label"),
    ("a.jsonl", '{"path": {"bytes": "..."}, "label": 1}\n', "a picture inside the table"),
    ("a.jsonl", '{"path": "a\\u0000b", "label": 1}\n', "a path with a zero byte"),
    ("a.parquet", "PAR1 no parquet", "cannot be read as Parquet"),
])
def test_wrong_manifests_name_what_is_wrong(table, name, text, message):
    with pytest.raises(DataError, match=message) as caught:
        open_source(table(name, text))
    assert name in str(caught.value)


def test_labels_of_other_kinds_become_names(table):
    labels = [1.0, True, "x", 2, False, None]
    rows = [{"path": path, "label": label} for (path, _), label in zip(ROWS, labels, strict=False)]
    text = "\n".join(map(json.dumps, rows[:5]))
    assert set(open_source(table("list.jsonl", text), divide=False).classes) == {"1", "true", "x", "2", "false"}
    with pytest.raises(DataError, match="row 6 has no label"):
        open_source(table("list.jsonl", "\n".join(map(json.dumps, rows))))
