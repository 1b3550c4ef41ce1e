"""`vitrail train --devices N` as a user starts it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from tiny import tiny_recipe

from vitrail.cli import launch
from vitrail.errors import UsageError
from vitrail.files import write_text


def begun(folder: Path, *more: str, steps: int = 100_000) -> subprocess.Popen[str]:
    write_text(folder / "recipe.json", tiny_recipe(schedule__steps=steps).model_dump_json())
    return subprocess.Popen(
        [sys.executable, "-m", "vitrail", "train", "--recipe", "recipe.json", "--out", "run", "--devices", "2", *more],
        cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True)


def members(session: int) -> list[int]:
    """Processes that live in a session, so also what a dead parent left behind."""
    found = []
    for entry in Path("/proc").iterdir():
        try:
            words = (entry / "stat").read_text().rsplit(")", 1)[1].split() if entry.name.isdigit() else []
        except OSError:
            continue
        if words and int(words[3]) == session and words[0] != "Z":
            found.append(int(entry.name))
    return found


def until_it_trains(folder: Path, seconds: float = 90.0) -> None:
    end = time.monotonic() + seconds
    while not (folder / "run" / "metrics.jsonl").exists():
        assert time.monotonic() < end
        time.sleep(0.05)


linux = pytest.mark.skipif(sys.platform != "linux", reason="asks /proc for processes")


@linux
@pytest.mark.fault("R11", "Of a run by --devices, no process is left ten seconds after one was killed; it is named.")
def test_when_one_dies_none_is_left(tmp_path: Path) -> None:
    launcher = begun(tmp_path)
    until_it_trains(tmp_path)
    os.kill(max(members(launcher.pid)), signal.SIGKILL)  # started last
    _, words = launcher.communicate(timeout=10)
    assert launcher.returncode == 1
    assert "error: process 1 was ended by SIGKILL" in words
    assert "Go on from the last checkpoint: vitrail train --resume --out run --devices 2" in words
    assert "Traceback" not in words
    assert members(launcher.pid) == []


@linux
@pytest.mark.fault("R11", "When the launcher itself is killed, its processes end with it.")
def test_a_killed_launcher_leaves_nobody_behind(tmp_path: Path) -> None:
    launcher = begun(tmp_path)
    until_it_trains(tmp_path)
    launcher.kill()
    launcher.communicate()
    end = time.monotonic() + 10
    while members(launcher.pid):
        assert time.monotonic() < end
        time.sleep(0.05)


@linux
def test_ctrl_c_stops_all_and_says_how_to_go_on(tmp_path: Path) -> None:
    launcher = begun(tmp_path)
    until_it_trains(tmp_path)
    os.killpg(launcher.pid, signal.SIGINT)
    said, words = launcher.communicate(timeout=60)
    assert launcher.returncode == 130, words
    assert "next: vitrail train --resume --out run --devices 2" in said
    assert words.count("stopping:") == 1
    assert "2 processes" in words


def test_more_processes_than_cores_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: {0, 1}, raising=False)
    with pytest.raises(UsageError, match="at most --devices 2"):
        launch.launch(3, ["train"], "")
