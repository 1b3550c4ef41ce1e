"""Whole studies in real processes: what a kill at any moment, and a second worker, change in the report. Nothing."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

import numpy as np
import pytest
from attempts import Attempts

ASKED = ["study", "data", "digits", "--models", "mu/4", "half:mu/4", "--sizes", "3", "--seeds", "2", "-q",
         "--set", "schedule.steps=8", "--set", "training.precision=fp32"]
CELLS = 12

TUNED = ["study", "head", "digits", "--model", "mu/4", "--rates", "0.5", "1", "--seeds", "2", "-q",
         "--set", "schedule.steps=8", "--set", "training.precision=fp32"]
"""In two stages: what comes second depends on what the first found."""


def report(folder: Path) -> str:
    (made,) = (folder / "studies").glob("*/study.json")
    return made.read_text()


def lines(folder: Path) -> int:
    ledger = folder / "studies" / "ledger.jsonl"
    return len(ledger.read_text().splitlines()) if ledger.exists() else 0


@pytest.fixture(scope="module")
def undisturbed(attempts: Attempts, tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = tmp_path_factory.mktemp("undisturbed")
    assert attempts.start(ASKED, folder).code() == 0
    assert lines(folder) == CELLS
    return report(folder)


def killed_at_random(attempts: Attempts, asked: list[str], folder: Path) -> str:
    """The report of a study that was killed up to ten times, three times at least, before it ended."""
    draws, kills = np.random.default_rng(7), 0
    while kills < 10:
        running = attempts.start(asked, folder)
        time.sleep(draws.uniform(0.1, 0.6))
        os.kill(running.process, signal.SIGKILL)
        code = running.code()
        assert code in (-signal.SIGKILL, 0), running.words()
        if code == 0:
            break
        kills += 1
    assert kills >= 3
    assert attempts.start(asked, folder).code() == 0
    return report(folder)


def test_a_study_killed_at_random_moments_gives_the_same_report(attempts: Attempts, undisturbed: str,
                                                                tmp_path: Path) -> None:
    assert killed_at_random(attempts, ASKED, tmp_path) == undisturbed
    assert lines(tmp_path) == CELLS


def test_an_ablation_killed_in_either_stage_gives_the_same_report(attempts: Attempts, tmp_path: Path) -> None:
    (tmp_path / "whole").mkdir()
    (tmp_path / "killed").mkdir()
    assert attempts.start(TUNED, tmp_path / "whole").code() == 0
    assert killed_at_random(attempts, TUNED, tmp_path / "killed") == report(tmp_path / "whole")
    assert lines(tmp_path / "killed") == lines(tmp_path / "whole")


def test_two_workers_on_one_ledger_give_the_report_of_one(attempts: Attempts, undisturbed: str, tmp_path: Path) -> None:
    workers = [attempts.start(ASKED, tmp_path) for _ in range(2)]
    assert [worker.code() for worker in workers] == [0, 0]
    assert lines(tmp_path) == CELLS
    assert report(tmp_path) == undisturbed
