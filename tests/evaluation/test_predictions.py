from __future__ import annotations

import csv
import io
import itertools
import json
import os
from pathlib import Path

import numpy as np
import pytest
from known_answers import bundle_of
from PIL import Image

from vitrail.bundle import Answer, Bundle
from vitrail.errors import BundleError, UsageError
from vitrail.evaluation import Failure, Prediction, expand, predict_files
from vitrail.evaluation.writers import csv_header, csv_row, json_line, printable, text_line


def save_grey(path: Path, level: int) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("L", (5, 3), level).save(path)
    return path


@pytest.fixture
def bundle() -> Bundle:
    return bundle_of(np.eye(6) * 5, ("a", "b", "c", "d", "e", "f"))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for level, name in enumerate(["x/1.png", "x/2.PNG", "x/deep/3.png", "[x].png"]):
        save_grey(tmp_path / name, level)
    (tmp_path / "x/notes.txt").write_text("not a picture")
    save_grey(tmp_path / ".hidden/1.png", 0)
    return tmp_path


def test_order_is_kept_and_bad_files_do_not_stop_the_others(bundle: Bundle, folder: Path) -> None:
    empty, text, gone = folder / "empty.png", folder / "text.png", folder / "gone.png"
    empty.write_bytes(b"")
    text.write_text("hello")
    paths = [empty, folder / "x/1.png", text, gone, folder / "x/2.PNG", folder, folder / "x/deep/3.png"]
    results = list(predict_files(bundle, map(str, paths), top=2, batch_size=2))
    assert [result.path for result in results] == [str(path) for path in paths]
    kinds = [result.top[0].name if isinstance(result, Prediction) else "-" for result in results]
    assert kinds == ["-", "a", "-", "-", "b", "-", "c"]
    assert all(result.error for result in results if isinstance(result, Failure))
    first = results[1]
    assert isinstance(first, Prediction)
    assert len(first.top) == 2
    assert first.top[0].probability == pytest.approx(np.exp(5) / (np.exp(5) + 5), rel=1e-5)


def test_answers_come_before_the_list_ends(bundle: Bundle, folder: Path) -> None:
    endless = itertools.cycle([str(folder / "x/1.png")])
    results = list(itertools.islice(predict_files(bundle, endless, batch_size=3), 7))
    assert len(results) == 7


def test_all_bad(bundle: Bundle) -> None:
    assert list(predict_files(bundle, [Failure("a", "b")])) == [Failure("a", "b")]
    assert list(predict_files(bundle, [])) == []


def test_more_than_there_are_classes(bundle: Bundle, folder: Path) -> None:
    (result,) = predict_files(bundle, [str(folder / "x/1.png")], top=50)
    assert isinstance(result, Prediction)
    assert len(result.top) == 6


def test_wrong_settings_and_broken_weights(bundle: Bundle, folder: Path) -> None:
    with pytest.raises(UsageError, match="at least 1"):
        list(predict_files(bundle, [], top=0))
    with pytest.raises(BundleError, match="not a finite number"):
        list(predict_files(bundle_of([[np.nan, 0.0]]), [str(folder / "x/1.png")]))


def names(results: object, folder: Path) -> list[str]:
    return [os.path.relpath(str(name), folder) for name in results]  # type: ignore[attr-defined]


def test_folders_files_and_globs(folder: Path) -> None:
    assert names(expand([str(folder / "x")]), folder) == ["x/1.png", "x/2.PNG", "x/deep/3.png"]
    assert names(expand([str(folder / "x/?.png")]), folder) == ["x/1.png"]
    assert names(expand([str(folder / "**/*.png")]), folder) == ["[x].png", "x/1.png", "x/deep/3.png"]
    assert names(expand([str(folder / "[x].png")]), folder) == ["[x].png"]  # a file of exactly that name
    assert names(expand([str(folder / "x/notes.txt")]), folder) == ["x/notes.txt"]  # asked for by name: tried


def test_what_leads_to_no_picture_is_a_failure_in_its_place(folder: Path) -> None:
    (folder / "bare").mkdir()
    (folder / "dangling.png").symlink_to(folder / "nowhere.png")
    os.mkfifo(folder / "pipe.png")
    given = ["nothing*.png", "gone.png", "bare", "dangling.png", "pipe.png", "x/1.png", "nul\0.png"]
    results = list(expand([str(folder / name) for name in given]))
    reasons = [result.error if isinstance(result, Failure) else "" for result in results]
    assert reasons[:4] == ["no file has a name like this", "there is no such file", "no picture in this folder",
                           "a link to nothing"]
    assert "pipes" in reasons[4]
    assert reasons[5] == ""
    assert "null" in reasons[6]


def test_a_folder_with_a_pipe_and_a_circle_ends(folder: Path) -> None:
    os.mkfifo(folder / "x/pipe.png")
    (folder / "x/circle").symlink_to(folder / "x")
    (folder / "x/zz.png").symlink_to(folder / "nowhere.png")
    results = list(expand([str(folder / "x")]))
    assert [isinstance(result, Failure) for result in results] == [False, False, True, False]


def test_a_list_on_standard_input_has_no_wildcards(folder: Path) -> None:
    lines = io.StringIO(f"{folder}/x/1.png\r\n\n{folder}/*.png\n{folder}/x/deep")
    results = list(expand(["-"], lines))
    assert names([getattr(result, "path", result) for result in results], folder) == ["x/1.png", "*.png",
                                                                                    "x/deep/3.png"]
    assert isinstance(results[1], Failure)


HOSTILE = Prediction('=cmd|"x"\x1b[31m\n.png', [Answer("@sum\u202e</script>", 3, 0.5), Answer("caf\u00e9", 1, 0.25)])


def test_json_lines() -> None:
    line = json_line(HOSTILE)
    assert line.isascii()
    assert line.isprintable()
    assert json.loads(line) == {"path": HOSTILE.path, "top": [
        {"class": "@sum\u202e</script>", "index": 3, "probability": 0.5},
        {"class": "caf\u00e9", "index": 1, "probability": 0.25}]}
    assert json.loads(json_line(Failure("a", "b"))) == {"path": "a", "error": "b"}
    json_line(Failure("\udcff.png", "b")).encode()  # a name that is not UTF-8 on disk


def test_csv_cells_are_text_to_a_spreadsheet() -> None:
    text = "\n".join([csv_header(3), csv_row(HOSTILE, 3), csv_row(Failure("-x", "gone"), 3)])
    header, row, failed = csv.reader(io.StringIO(text))
    assert header == ["path", "class_1", "probability_1", "class_2", "probability_2", "class_3", "probability_3",
                      "error"]
    assert row == ["'" + HOSTILE.path, "'@sum\u202e</script>", "0.5", "caf\u00e9", "0.25", "", "", ""]
    assert failed == ["'-x", "", "", "", "", "", "", "gone"]
    csv_row(Failure("\udcff.png", "b"), 1).encode()


def test_terminal_text_moves_no_cursor() -> None:
    assert text_line(HOSTILE) == '=cmd|"x"\\x1b[31m\\n.png: @sum\\u202e</script> 50.0 %, caf\u00e9 25.0 %'
    assert text_line(Failure("a\rb", "gone")) == "a\\rb: gone"
    assert printable("\udcff \x9b").encode()
