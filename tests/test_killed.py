"""Real processes that are killed, asked to stop or left without room at any moment, and go on as if nothing had
happened."""

from __future__ import annotations

import os
import pkgutil
import random
import resource
import shutil
import signal
import time
from pathlib import Path
from typing import Any

import pytest
from attempts import Attempts, Running
from safetensors.torch import load_file
from tiny import last, tiny_recipe, train
from torch import equal

import vitrail
from vitrail.bundle import Bundle
from vitrail.events import Stepped
from vitrail.files import verify_manifest
from vitrail.run import run
from vitrail.training.checkpoint import newest_checkpoint, step_folders, verify_checkpoint
from vitrail.training.guard import Interrupts
from vitrail.training.journal import read_journal

KILLS = int(os.environ.get("VITRAIL_KILLS", "8"))
STEPS = 60 + 30 * KILLS  # more than any machine takes between kills
GOING_ON = ["train", "--resume", "--out", "run"]
NO_REPORT = "import vitrail.run.ending; vitrail.run.ending.write_report = lambda *_, **__: None\n"
AT_ONCE = NO_REPORT + "import vitrail.training.guard; vitrail.training.guard.MOMENT = 0.0\n"


def busy_recipe(**changes: Any) -> vitrail.Recipe:
    """Always saving, and often evaluating."""
    return tiny_recipe(**{"schedule__steps": STEPS, "training__checkpoint_seconds": 1e-3, "training__average": 0.99,
                          "evaluation__every_epochs": 0.5, **changes})


@pytest.fixture(scope="module")
def begun(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run after its first step, in `run`, and the same one undisturbed to its end, in `whole`. Both go on with the
    kernels that were measured at their beginning."""
    folder = tmp_path_factory.mktemp("begun")
    train(busy_recipe(), folder / "run", stop_after=1)
    shutil.copytree(folder / "run", folder / "whole")
    train(busy_recipe(training__checkpoint_seconds=100.0), folder / "whole", resume=True)
    return folder


@pytest.fixture
def folder(begun: Path, tmp_path: Path) -> Path:
    """Where the begun run stands in `run`."""
    shutil.copytree(begun / "run", tmp_path / "run")
    return tmp_path


def same_end(one: Path, other: Path, *, losses: bool = True) -> bool:
    """Are the Bundles, the last checkpoints and, with `losses`, those on the way equal to the bit?"""
    checkpoint = Path("checkpoints", f"step-{STEPS:08d}")
    files = [Path("bundle", "model.safetensors"), *(checkpoint / f"{name}.safetensors" for name in (
        "weights", "optimizer", "average"))]
    for file in files:
        first, second = load_file(one / file), load_file(other / file)
        if first.keys() != second.keys() or not all(equal(first[name], second[name]) for name in first):
            return False
    rows = [[(row["step"], row["train/loss"]) for row in read_journal(run / "metrics.jsonl") if "train/loss" in row]
            for run in (one, other)]
    return not losses or (rows[0] == rows[1] and len(rows[0]) == STEPS)


def wait_for_steps(running: Running, folder: Path) -> None:
    """Until it trains: a checkpoint comes that was not there before."""
    checkpoints = folder / "run" / "checkpoints"
    before = set(step_folders(checkpoints))
    running.until(lambda: bool(set(step_folders(checkpoints)) - before))


def shared_memory(process: int) -> list[str]:
    return [line for line in Path(f"/proc/{process}/maps").read_text().splitlines() if "/dev/shm" in line]


@pytest.mark.fault("R13", "No process maps named shared memory, so a killed one leaves none behind; half-written "
                   "files are cleared when the run goes on.")
@pytest.mark.fault("R1", "A run that is killed 8 times at random moments (30 with VITRAIL_KILLS=30), and gone on with "
                   "each time, ends equal to the bit to one that is not: Bundle, weights, moments, average, losses.")
def test_kills_at_random_moments_change_nothing(attempts: Attempts, begun: Path, folder: Path) -> None:
    chance = random.Random(0)
    reached = set()
    for kill in range(KILLS):
        running = attempts.start(GOING_ON, folder, before=NO_REPORT)
        if kill % 4:  # else while it is set up
            wait_for_steps(running, folder)
        time.sleep(chance.uniform(0, 0.04))
        assert not shared_memory(running.process)
        os.kill(running.process, signal.SIGKILL)
        assert running.code() == -signal.SIGKILL, running.words()
        checkpoint, troubles = newest_checkpoint(folder / "run" / "checkpoints")
        assert checkpoint is not None
        assert troubles == []
        reached.add(checkpoint.name)
    assert len(reached) > KILLS / 3
    running = attempts.start(GOING_ON, folder, before=NO_REPORT)
    assert running.code() == 0, running.words()
    assert same_end(begun / "whole", folder / "run")
    assert not list((folder / "run").rglob(".tmp-*"))


@pytest.mark.fault("R4", "Any of the three signals at a random moment ends a training process in 5 seconds with exit "
                   "code 130, 143 or 138, a whole checkpoint and a Bundle of the same step; going on changes nothing.")
def test_signals_at_random_moments_change_nothing(attempts: Attempts, begun: Path, folder: Path) -> None:
    chance = random.Random(0)
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGUSR1, signal.SIGTERM):
        running = attempts.start(GOING_ON, folder, before=NO_REPORT)
        wait_for_steps(running, folder)
        time.sleep(chance.uniform(0, 0.04))
        os.kill(running.process, number)
        since = time.monotonic()
        assert running.code() == 128 + number, running.words()
        assert time.monotonic() - since < 5
        assert "Traceback" not in running.words()
        assert "can be used" in running.words()
        checkpoint, _ = newest_checkpoint(folder / "run" / "checkpoints")
        assert checkpoint is not None
        assert int(checkpoint.name.removeprefix("step-")) == Bundle.load(folder / "run").provenance["step"]
    assert attempts.start(GOING_ON, folder, before=NO_REPORT).code() == 0
    assert same_end(begun / "whole", folder / "run")


@pytest.mark.fault("R4", "A second signal, a moment after the first, ends the process at once; what is on disk is "
                   "whole, and going on changes nothing.")
def test_a_second_signal_ends_at_once_without_damage(attempts: Attempts, begun: Path, folder: Path) -> None:
    given_up = 0
    for pause in (0.0, 0.002, 0.005, 0.01, 0.02):
        running = attempts.start(GOING_ON, folder, before=AT_ONCE)
        wait_for_steps(running, folder)
        os.kill(running.process, signal.SIGTERM)
        time.sleep(pause)
        os.kill(running.process, signal.SIGTERM)
        since = time.monotonic()
        assert running.code() == 143, running.words()
        assert time.monotonic() - since < 2
        assert "Traceback" not in running.words()
        given_up += "stopped." in running.words()
        assert newest_checkpoint(folder / "run" / "checkpoints")[1] == []
        verify_manifest(folder / "run" / "bundle")
    assert given_up
    assert attempts.start(GOING_ON, folder, before=NO_REPORT).code() == 0
    assert same_end(begun / "whole", folder / "run")
    assert not list((folder / "run").rglob(".tmp-*"))


@pytest.mark.fault("R3", "A disk that is full for a while costs the checkpoints of that while, each told in one "
                   "message; the run ends equal to the bit to one with room.")
def test_a_disk_that_is_full_for_a_while_changes_nothing(attempts: Attempts, begun: Path, folder: Path) -> None:
    """A limit on file size, set from outside in the middle of the run, stands in for the disk."""
    running = attempts.start(GOING_ON, folder, before=NO_REPORT)
    wait_for_steps(running, folder)
    unlimited = resource.prlimit(running.process, resource.RLIMIT_FSIZE, (10_000, resource.RLIM_INFINITY))
    running.until(lambda: "The run goes on and tries again." in running.words())
    resource.prlimit(running.process, resource.RLIMIT_FSIZE, unlimited)
    assert running.code() == 0, running.words()
    assert "Cannot save" in running.words()
    assert "Free some space" in running.words()
    assert "Traceback" not in running.words()
    assert same_end(begun / "whole", folder / "run", losses=False)  # rows of the journal may have found no room
    assert not list((folder / "run").rglob(".tmp-*"))


@pytest.mark.fault("R4", "A signal while steps are timed, in the middle of a step, of an evaluation or of a save is "
                   "heeded at its end, after at most one more step, and leaves a whole checkpoint and a Bundle.")
@pytest.mark.parametrize("place", ["vitrail.workshop.trials.backward", "vitrail.training.loop.backward",
                                   "vitrail.bundle.Bundle.logits", "vitrail.files.write_manifest"])
def test_a_signal_in_the_middle_of_anything_is_heeded(
        tmp_path: Path, monkeypatch: pytest.MonkeyPatch, place: str) -> None:
    module, name = pkgutil.resolve_name(place.rpartition(".")[0]), place.rpartition(".")[2]
    original, calls = getattr(module, name), []

    def struck(*given: Any, **settings: Any) -> Any:
        calls.append(name)
        if len(calls) == 2:
            os.kill(os.getpid(), signal.SIGTERM)
        return original(*given, **settings)

    monkeypatch.setattr(module, name, struck)
    monkeypatch.setattr("vitrail.run.ending.write_report", lambda *_, **__: None)
    with Interrupts().listen() as interrupts:
        events = []
        steps_after = 0
        for event in run(busy_recipe(), tmp_path, interrupts=interrupts):
            events.append(event)
            steps_after += isinstance(event, Stepped) and bool(interrupts)
    assert len(calls) >= 2
    assert last(events).signal == signal.SIGTERM
    assert steps_after <= 1
    assert Bundle.load(tmp_path).provenance["step"] == last(events).steps < STEPS
    for checkpoint in tmp_path.glob("checkpoints/*"):
        verify_checkpoint(checkpoint)
    assert (last(events).steps == 0) == (place == "vitrail.workshop.trials.backward")


@pytest.mark.fault("R4", "A signal during the range test of --lr auto ends it after its step; nothing has begun then.")
def test_a_signal_in_a_range_test_leaves_nothing_begun(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from vitrail.training import loop

    backward, calls = loop.backward, []

    def struck(*given: Any, **settings: Any) -> Any:
        calls.append(1)
        if len(calls) == 3:
            os.kill(os.getpid(), signal.SIGTERM)
        return backward(*given, **settings)

    monkeypatch.setattr(loop, "backward", struck)
    with Interrupts().listen() as interrupts, pytest.raises(KeyboardInterrupt) as stopped:
        list(run(busy_recipe(), tmp_path, interrupts=interrupts, find_rate=True))
    assert stopped.value.args == (signal.SIGTERM,)
    assert len(calls) == 3
    assert [path.name for path in tmp_path.iterdir()] == [".lock"]


@pytest.mark.fault("R10", "A second process in the folder of a run ends with exit code 1 and says which one holds it; "
                   "after kill -9 of that one the folder is free.")
def test_a_second_run_waits_its_turn(attempts: Attempts, folder: Path) -> None:
    running = attempts.start(GOING_ON, folder, before=NO_REPORT)
    wait_for_steps(running, folder)
    second = attempts.start(GOING_ON, folder, before=NO_REPORT)
    assert second.code() == 1
    assert f"is in use by another run (process {running.process} on " in second.words()
    assert "Traceback" not in second.words()
    os.kill(running.process, signal.SIGKILL)
    assert running.code() == -signal.SIGKILL
    third = attempts.start(GOING_ON, folder, before=NO_REPORT)
    wait_for_steps(third, folder)
    os.kill(third.process, signal.SIGTERM)
    assert third.code() == 143


@pytest.mark.fault("R1", "A run that is killed before its first checkpoint begins again with --resume, and writes "
                   "what its folder lacks.")
def test_a_run_killed_before_its_first_checkpoint_begins_again(attempts: Attempts, tmp_path: Path) -> None:
    recipe = busy_recipe(training__checkpoint_seconds=100.0, schedule__steps=5)
    (tmp_path / "recipe.json").write_text(recipe.model_dump_json())
    beginning = ["train", "--recipe", "recipe.json", "--out", "run"]
    for place in ("run/.lock", "run/recipe.json", "run/manifest.csv"):
        held = (tmp_path / "run" / "recipe.json").exists()
        running = attempts.start(GOING_ON if held else beginning, tmp_path, before=NO_REPORT)
        if (tmp_path / place).exists():
            time.sleep(0.3)
        running.until(lambda place=place: (tmp_path / place).exists())
        os.kill(running.process, signal.SIGKILL)
        assert running.code() == -signal.SIGKILL, running.words()
    running = attempts.start(GOING_ON, tmp_path, before=NO_REPORT)
    assert running.code() == 0, running.words()
    assert Bundle.load(tmp_path / "run").provenance["step"] == 5
    assert (tmp_path / "run" / "manifest.csv").exists()
