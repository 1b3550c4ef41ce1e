"""Where nobody hears what a command says: the reader has gone, or the disk that keeps the log is full."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest
from attempts import Attempts
from tiny import tiny_recipe

from vitrail import cli
from vitrail.bundle import Bundle

FULL = Path("/dev/full")


@pytest.fixture
def command(tmp_path: Path) -> list[str]:
    """Train for some steps, with much to say and no report to draw."""
    recipe = tiny_recipe(schedule__steps=30, evaluation__every_epochs=0.1)
    (tmp_path / "recipe.json").write_text(recipe.model_dump_json())
    return ["train", "--recipe", "recipe.json", "--out", "run"]


def steps_of(folder: Path) -> int:
    return int(Bundle.load(folder / "run").provenance["step"])


@pytest.mark.fault("R14", "Training goes on to its end when the reader of its output leaves after the first line.")
def test_a_run_whose_reader_leaves_goes_on_to_its_end(attempts: Attempts, command: list[str], tmp_path: Path) -> None:
    """`vitrail train ... 2>&1 | head -1`"""
    os.mkfifo(tmp_path / "pipe")
    running = attempts.start(command, tmp_path, said=tmp_path / "pipe")
    with open(tmp_path / "pipe") as reader:
        assert reader.readline() == "[what I understood]\n"
    assert running.code() == 0
    assert steps_of(tmp_path) == 30
    assert (tmp_path / "run" / "report.html").exists()


@pytest.mark.skipif(not FULL.exists(), reason="/dev/full is a device of Linux")
@pytest.mark.fault("R14", "Training goes on to its end when the disk of its log is full; only the result, which is "
                   "then lost, makes the exit code 1.")
def test_a_run_whose_log_is_full_goes_on_to_its_end(attempts: Attempts, command: list[str], tmp_path: Path) -> None:
    running = attempts.start(command, tmp_path, said=FULL)
    assert running.code() == 1
    assert steps_of(tmp_path) == 30


@pytest.mark.skipif(not FULL.exists(), reason="/dev/full is a device of Linux")
def test_an_answer_that_cannot_be_written_is_an_error_in_words(
        monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    full = open(FULL, "w")  # noqa: SIM115 (closing it is part of the test)
    monkeypatch.setattr(sys, "argv", ["vitrail", "describe", "B/16", "--json"])
    monkeypatch.setattr(sys, "stdout", full)
    with pytest.raises(SystemExit) as end:
        cli.main()
    full.close()  # what is left in it goes nowhere
    assert end.value.code == 1
    assert capsys.readouterr().err == "error: The output cannot be written: No space left on device.\n"
