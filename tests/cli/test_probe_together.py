"""Several processes that probe together: the features of one, bit by bit, and what happens when one is in trouble."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from attempts import Attempts, Running
from PIL import Image
from test_launch import linux, members

import vitrail
from vitrail.bundle import Bundle
from vitrail.data.preprocess import Preprocess

DIGITS = ["probe", "features", "digits", "--method", "knn", "--batch-size", "100", "--cache", "cache"]


def saved(place: Path, *, model: str = "mu/4", size: int = 8, seed: int = 0) -> Path:
    torch.manual_seed(seed)
    bundle = Bundle(vitrail.create(model, classes=0, image_size=size), Preprocess(size=size), activation="none")
    return bundle.save(place)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    saved(tmp_path / "features")
    return tmp_path


def ended(running: list[Running]) -> list[int]:
    codes = [one.code(60) for one in running]
    assert all("Traceback" not in one.words() for one in running), "\n".join(one.words() for one in running)
    return codes


def answer(running: Running) -> list[str]:
    """Everything said but the progress, which comes by the clock."""
    return [line for line in running.words().splitlines() if not line.endswith(" left")]


def held(cache: Path) -> dict[str, bytes]:
    return {str(path.relative_to(cache)): path.read_bytes() for path in cache.rglob("*") if path.is_file()}


def test_they_write_the_entry_of_one_and_say_what_one_says(attempts: Attempts, folder: Path) -> None:
    """1,438 and 359 images in batches of 100: the last one is not full, and three do not share them evenly."""
    one, = attempts.together(DIGITS, folder, size=1)
    assert ended([one]) == [0]
    entries = held(folder / "cache")
    assert sum(name.endswith("features.npy") for name in entries) == 2
    for size in (2, 3):
        command = [*DIGITS[:-1], f"cache-{size}"]
        first, *others = attempts.together(command, folder, size=size)
        assert ended([first, *others]) == [0] * size
        assert held(folder / f"cache-{size}") == entries
        assert answer(first) == answer(one)
        assert [other.words() for other in others] == [""] * (size - 1)


NEVER = """
from vitrail.evaluation.frozen import features
def never(*_): raise AssertionError("computed again")
features.embedded = never
"""


def test_what_one_has_kept_is_not_computed_again(attempts: Attempts, folder: Path) -> None:
    assert ended(attempts.together(DIGITS, folder, size=1)) == [0]
    assert ended(attempts.together(DIGITS, folder, faults={0: NEVER, 1: NEVER})) == [0, 0]


def test_bad_pictures_and_fewer_batches_than_processes(attempts: Attempts, folder: Path) -> None:
    for number, place in enumerate(f"{split}/{color}/{name}.png" for split in ("train", "test")
                                   for color in ("red", "green") for name in "abc"):
        path = folder / "photos" / place
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.full((8, 8, 3), 20 * number, np.uint8)).save(path)
    for bad in ("train/green/a", "test/red/a", "test/red/b"):
        (folder / "photos" / f"{bad}.png").write_bytes(b"no picture")
    asked = ["probe", "features", "photos", "--method", "knn", "--neighbors", "1", "--batch-size", "2", "--json"]
    one, = attempts.together([*asked, "--cache", "one"], folder, size=1)
    four = attempts.together([*asked, "--cache", "four"], folder, size=4)
    assert ended([one, *four]) == [0] * 5
    assert held(folder / "one") == held(folder / "four")
    assert sum(name.endswith("features.npy") for name in held(folder / "one")) == 2
    assert answer(four[0]) == answer(one)
    assert "b.png" in one.words()


def test_where_nothing_can_be_kept_the_first_still_has_them(attempts: Attempts, folder: Path) -> None:
    (folder / "file").write_text("no folder")
    one, = attempts.together(DIGITS, folder, size=1)
    first, second = attempts.together(DIGITS[:-2], folder, environment={"XDG_CACHE_HOME": str(folder / "file")})
    assert ended([one, first, second]) == [0, 0, 0]
    assert answer(first) == answer(one)


SLOW = """
import time
from pathlib import Path
from vitrail.evaluation.frozen import features
inner, calls = features.embedded, []
def embedded(*asked):
    calls.append(1)
    if len(calls) > 2:
        Path("begun").touch()
        time.sleep(0.2)
    return inner(*asked)
features.embedded = embedded
"""


@pytest.mark.fault("R11", "A signal for one of the processes that probe together ends all within seconds.")
def test_a_signal_for_one_ends_all(attempts: Attempts, folder: Path) -> None:
    running = attempts.together(DIGITS, folder, faults={0: SLOW, 1: SLOW})
    running[1].until(lambda: (folder / "begun").exists())
    began = time.monotonic()
    os.kill(running[1].process, signal.SIGTERM)
    assert ended(running) == [143, 143]
    assert time.monotonic() - began < 8
    assert running[0].words().endswith("stopped.\n")
    assert "saved" not in running[0].words()
    assert running[1].words() == ""
    assert held(folder / "cache") == {}


DIE = SLOW.replace("time.sleep(0.2)", "import os, signal; os.kill(os.getpid(), signal.SIGKILL)")


@pytest.mark.fault("R11", "When a process that probes is killed, the others end within seconds and say which.")
def test_a_killed_one_is_named(attempts: Attempts, folder: Path) -> None:
    running = attempts.together(DIGITS, folder, faults={1: DIE})
    assert running[1].code() == -9
    began = time.monotonic()
    assert ended(running[:1]) == [1]
    assert time.monotonic() - began < 10
    assert "Process 1 of the 2 that work together does not answer" in running[0].words()
    assert "Give the same command again" in running[0].words()
    assert held(folder / "cache") == {}


NOT_FINITE = SLOW.replace("time.sleep(0.2)", "return inner(*asked) * float('nan')")
NO_ROOM = """
import errno
from vitrail.evaluation.frozen import features
class Full:
    def __init__(self, inner): self.inner = inner
    def __enter__(self): return self
    def __exit__(self, *error): self.inner.close()
    def write(self, data): raise OSError(errno.ENOSPC, "No space left on device")
inner = features.scratch
features.scratch = lambda folder: Full(inner(folder))
"""


@pytest.mark.parametrize(("rank", "fault", "code", "words"), [
    (1, NOT_FINITE, 1, "note: process 1 said so\nerror: The model's features of"),
    (0, NO_ROOM, 1, "error: The features cannot be kept in cache: No space left on device."),
    (1, "import os; os.rename('features', 'gone')", 1, "error: There is no Bundle at features"),
    (1, "import os; os.chdir('other')", 1, "error: Process 1 does not see the weights or the images of process 0."),
], ids=["not finite", "no room", "no Bundle", "other weights"])
def test_the_error_of_one_ends_all_and_the_first_says_it(rank: int, fault: str, code: int, words: str,
                                                         attempts: Attempts, folder: Path) -> None:
    saved(folder / "other" / "features", seed=1)
    running = attempts.together(DIGITS, folder, faults={rank: fault})
    assert ended(running) == [code, code]
    assert words in running[0].words()
    assert running[1].words() == ""
    assert held(folder / "cache") == {}


def test_a_mistake_is_said_once(attempts: Attempts, folder: Path) -> None:
    running = attempts.together(["probe", "features", "digits", "--method", "knnn"], folder)
    assert ended(running) == [2, 2]
    assert running[0].words().count("Did you mean 'knn'") == 1
    assert running[1].words() == ""


def test_another_number_than_was_started_is_refused(attempts: Attempts, folder: Path) -> None:
    running = attempts.together([*DIGITS, "--devices", "3"], folder)
    assert ended(running) == [2, 2]
    assert "2 processes were started" in running[0].words()


@linux
def test_by_devices_when_one_dies_none_is_left(tmp_path: Path) -> None:
    saved(tmp_path / "features", model="Ti/16", size=160)
    launcher = subprocess.Popen([sys.executable, "-m", "vitrail", *DIGITS, "--devices", "2"], cwd=tmp_path,
                                stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True)
    end = time.monotonic() + 60
    while not (tmp_path / "cache").exists():  # made when the first batch is asked for
        assert time.monotonic() < end
        time.sleep(0.05)
    os.kill(max(members(launcher.pid)), signal.SIGKILL)  # started last
    _, words = launcher.communicate(timeout=10)
    assert launcher.returncode == 1
    assert "error: process 1 was ended by SIGKILL" in words
    assert "Give the same command again" in words
    assert "Traceback" not in words
    assert members(launcher.pid) == []
