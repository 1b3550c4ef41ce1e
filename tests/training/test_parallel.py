"""Real processes that train one model: the same as one process alone, and what happens when one is in trouble."""

from __future__ import annotations

import os
import shutil
import signal
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from attempts import Attempts, Running
from PIL import Image
from tiny import tiny_recipe

import vitrail
from vitrail.data.pack import pack
from vitrail.data.source import open_source
from vitrail.files import write_text
from vitrail.training.checkpoint import newest_checkpoint
from vitrail.training.journal import read_journal

SHARDED = {"training__shard": True}


def arguments(folder: Path, *more: str, **changes: Any) -> list[str]:
    """The command that trains a tiny recipe into `folder`/run; a recipe without dropout unless asked."""
    recipe = tiny_recipe(**{"model__settings": {}, **changes})
    write_text(folder / "recipe.json", recipe.model_dump_json())
    return ["train", "--recipe", "recipe.json", "--out", "run", "-q", *more]


RESUME = ["train", "--resume", "--out", "run", "-q"]


def ended(running: list[Running]) -> list[int]:
    codes = [one.code() for one in running]
    assert all("Traceback" not in one.words() for one in running), "\n".join(one.words() for one in running)
    return codes


def trained(attempts: Attempts, folder: Path, size: int, **changes: Any) -> Path:
    folder.mkdir()
    assert ended(attempts.together(arguments(folder, **changes), folder, size=size)) == [0] * size
    return folder / "run"


def losses(run: Path) -> list[float]:
    return [row["train/loss"] for row in read_journal(run / "metrics.jsonl") if "train/loss" in row]


def weights(run: Path) -> dict[str, torch.Tensor]:
    return vitrail.load(run).model.state_dict()


def distance(first: Path, second: Path) -> float:
    """How far two models are from each other, as a share of their length. Adam's steps have the size of the rate even
    where a gradient is only rounding, so single weights tell less."""
    ours, theirs = weights(first), weights(second)
    assert ours.keys() == theirs.keys()
    ours_, theirs_ = (torch.cat([model[name].flatten() for name in ours]) for model in (ours, theirs))
    return float((ours_ - theirs_).norm() / theirs_.norm())


@pytest.fixture(scope="module")
def alone(attempts: Attempts, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Ten steps in fp32 of one process, with an average and mixed images."""
    return trained(attempts, tmp_path_factory.mktemp("alone") / "one", 1, **USUAL)


USUAL: dict[str, Any] = {"training__average": 0.9, "augmentation__mixup": 0.2, "augmentation__mix_group": 8}


@pytest.mark.parametrize("layout", [{}, SHARDED, {"training__micro_batches": 4}], ids=["replicas", "shards", "parts"])
def test_two_processes_take_the_steps_of_one(layout: dict[str, Any], attempts: Attempts, alone: Path,
                                             tmp_path: Path) -> None:
    run = trained(attempts, tmp_path / "two", 2, **USUAL, **layout)
    assert losses(run) == pytest.approx(losses(alone), rel=1e-6)
    assert len(losses(run)) == 10
    assert distance(run, alone) < 1e-4


WITHOUT_LABELS: dict[str, dict[str, Any]] = {
    "masked-patch": {"evaluation__probe_every": 0.2},
    "mae": {"objective__mae": {"decoder": {"width": 16, "depth": 2, "heads": 2}}},
    "dino": {"augmentation__crop": "none", "augmentation__multi_crop__local": 2, "training__average": None,
             "augmentation__multi_crop__local_size": 4,
             "objective__dino": {"prototypes": 32, "hidden": 32, "bottleneck": 16, "hold_prototypes": 0.25,
                                 "koleo": {"weight": 0.1}, "ibot": {"weight": 1.0, "head": "own"}}}}
LAYOUTS: dict[str, dict[str, Any]] = {"replicas": {}, "shards": SHARDED, "parts": {"training__micro_batches": 4}}


@pytest.mark.parametrize("layout", LAYOUTS.values(), ids=LAYOUTS)
@pytest.mark.parametrize("objective", WITHOUT_LABELS)
def test_without_labels_two_processes_take_the_steps_and_the_looks_of_one(
        objective: str, layout: dict[str, Any], attempts: Attempts, tmp_path: Path) -> None:
    """One of them is stopped and goes on as one process: what is masked hangs on the positions alone."""
    changes = {"objective__name": objective, "training__average": 0.9, **WITHOUT_LABELS[objective]}
    one = trained(attempts, tmp_path / "one", 1, **changes)
    command, fault = arguments(tmp_path, **changes, **layout), {0: STOP_AFTER.format(steps=6)}
    assert set(ended(attempts.together(command, tmp_path, faults=fault))) == {143}
    assert ended(attempts.together([*RESUME, "--set", "training.shard=false"], tmp_path, size=1)) == [0]
    found, expected = (read_journal(run / "metrics.jsonl") for run in (tmp_path / "run", one))
    for key in ("train/loss", "train/constant_loss", "val/loss", "test/loss"):
        ours, theirs = ([row[key] for row in rows if key in row] for rows in (found, expected))
        assert ours == pytest.approx(theirs, rel=1e-5), key
        assert ours
    for key in ("probe/few_shot_10", "probe/knn_20") if objective == "masked-patch" else ():
        ours, theirs = ([row[key] for row in rows if key in row] for rows in (found, expected))
        assert ours == pytest.approx(theirs, abs=1.1 / 145), key  # one image may fall on the other side
        assert len(ours) == 4
    assert distance(tmp_path / "run", one) < 1e-4


@pytest.mark.parametrize("layout", [{}, SHARDED], ids=["replicas", "shards"])
def test_dropout_draws_the_same_where_the_parts_of_a_batch_are_the_same(layout: dict[str, Any], attempts: Attempts,
                                                                        tmp_path: Path) -> None:
    changes = {"model__settings": {"dropout": 0.1}, "training__micro_batches": 4}
    one = trained(attempts, tmp_path / "one", 1, **changes)
    two = trained(attempts, tmp_path / "two", 2, **changes, **layout)
    assert losses(two) == pytest.approx(losses(one), rel=1e-6)
    other = trained(attempts, tmp_path / "other", 1, **changes | {"training__micro_batches": 2})
    assert losses(other) != pytest.approx(losses(one), rel=1e-4)


@pytest.mark.parametrize("layout", [{}, SHARDED], ids=["replicas", "shards"])
def test_in_bf16_two_processes_take_nearly_the_steps_of_one(layout: dict[str, Any], attempts: Attempts,
                                                            tmp_path: Path) -> None:
    one = trained(attempts, tmp_path / "one", 1, training__precision="bf16")
    two = trained(attempts, tmp_path / "two", 2, training__precision="bf16", training__micro_batches=4, **layout)
    assert losses(two) == pytest.approx(losses(one), rel=1e-3)
    assert distance(two, one) < 0.02


# Runs that stop and go on.


@pytest.mark.fault("R6", "A run goes on with another number of processes, sharded or not, with the same batches.")
@pytest.mark.parametrize("sizes", [((2, {}), (1, {}), (2, SHARDED)), ((2, SHARDED), (1, {}), (2, {}))],
                         ids=["replicas first", "shards first"])
def test_a_run_goes_on_with_other_processes(sizes: Any, attempts: Attempts, alone: Path, tmp_path: Path) -> None:
    for number, (steps, (size, layout)) in enumerate(zip((3, 7, 10), sizes, strict=True)):
        if number == 0:
            command = arguments(tmp_path, **USUAL, **layout)
        else:
            command = [*RESUME, "--set", f"training.shard={'true' if layout else 'false'}"]
        if steps < 10:
            fault = {0: STOP_AFTER.format(steps=steps)}
            assert set(ended(attempts.together(command, tmp_path, size=size, faults=fault))) == {143}
        else:
            assert ended(attempts.together(command, tmp_path, size=size)) == [0] * size
    assert losses(tmp_path / "run") == pytest.approx(losses(alone), rel=1e-6)
    assert distance(tmp_path / "run", alone) < 1e-4


STOP_AFTER = """
import os, signal
from vitrail.run import training as run
inner = run.agree
def agree(shop, due):
    if shop.step == {steps}:
        os.kill(os.getpid(), signal.SIGTERM)
    return inner(shop, due)
run.agree = agree
"""


@pytest.mark.fault("R5", "Two processes that were stopped twice end in the Bundle of two that were not, bit by bit.")
@pytest.mark.parametrize("layout", [{}, SHARDED], ids=["replicas", "shards"])
def test_two_processes_that_are_stopped_end_bit_equal(layout: dict[str, Any], attempts: Attempts,
                                                      tmp_path: Path) -> None:
    changes = {"training__precision": "bf16", "model__settings": {"dropout": 0.1}, "training__micro_batches": 4,
               **layout}
    undisturbed = trained(attempts, tmp_path / "undisturbed", 2, **changes)
    for command, steps in ((arguments(tmp_path, **changes), 3), (RESUME, 8)):
        fault = {1: STOP_AFTER.format(steps=steps)}
        assert ended(attempts.together(command, tmp_path, faults=fault)) == [143, 143]
    assert ended(attempts.together(RESUME, tmp_path)) == [0, 0]
    assert losses(tmp_path / "run") == losses(undisturbed)
    ours, theirs = weights(tmp_path / "run"), weights(undisturbed)
    assert all(torch.equal(ours[name], theirs[name]) for name in theirs)


@pytest.mark.fault("R2", "A sharded checkpoint of which any file is changed, cut or gone gives way to the one before.")
def test_a_damaged_sharded_checkpoint_gives_way(attempts: Attempts, alone: Path, tmp_path: Path) -> None:
    for command, steps in ((arguments(tmp_path, **USUAL, **SHARDED), 3), (RESUME, 6)):
        assert set(ended(attempts.together(command, tmp_path, faults={0: STOP_AFTER.format(steps=steps)}))) == {143}
    checkpoints, kept = tmp_path / "run" / "checkpoints", tmp_path / "kept"
    shutil.copytree(checkpoints, kept)
    for damage in (flipped, cut, Path.unlink):
        for file in sorted(path.name for path in (kept / "step-00000006").iterdir()):
            shutil.rmtree(checkpoints)
            shutil.copytree(kept, checkpoints)
            damage(checkpoints / "step-00000006" / file)
            found, troubles = newest_checkpoint(checkpoints)
            assert found == checkpoints / "step-00000003"
            assert file in troubles[0]
    assert ended(attempts.together(RESUME, tmp_path)) == [0, 0]
    assert distance(tmp_path / "run", alone) < 1e-4


@pytest.mark.fault("R3", "Where the first process cannot begin a sharded checkpoint, none waits; the run goes on.")
def test_a_sharded_checkpoint_that_cannot_begin_costs_nothing_else(attempts: Attempts, alone: Path,
                                                                   tmp_path: Path) -> None:
    command = arguments(tmp_path, **USUAL, **SHARDED, training__checkpoint_seconds=1e-9)
    assert ended(attempts.together(command, tmp_path, faults={0: NO_ROOM})) == [0, 0]
    assert not list((tmp_path / "run" / "checkpoints").glob("step-*"))
    assert distance(tmp_path / "run", alone) < 1e-4


NO_ROOM = """
from vitrail.errors import SaveError
from vitrail.training import sharded_checkpoint
def staged_folder(*given):
    raise SaveError("Cannot save: no space left.")
sharded_checkpoint.staged_folder = staged_folder
"""


def flipped(file: Path) -> None:
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.write_bytes(content)


def cut(file: Path) -> None:
    file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])


@pytest.mark.fault("R4", "A signal for one of several processes stops all of them after the same step.")
def test_a_signal_for_one_is_for_all(attempts: Attempts, tmp_path: Path) -> None:
    running = attempts.together(arguments(tmp_path, schedule__steps=100_000), tmp_path)
    running[0].until(lambda: (tmp_path / "run" / "metrics.jsonl").exists())
    os.kill(running[1].process, signal.SIGUSR1)
    assert ended(running) == [138, 138]
    assert vitrail.load(tmp_path / "run").provenance["step"] < 100_000


# Trouble in one of them.

NOT_A_NUMBER = """
from vitrail.objectives import Classify
inner = Classify.losses
def losses(self, batch):
    result = inner(self, batch)
    return result._replace(total=result.total * float("nan")) if self.training else result
Classify.losses = losses
"""


@pytest.mark.fault("R7", "What is not finite in one of several processes stops all before the update, in the same "
                   "words.")
def test_what_is_not_finite_in_one_stops_all(attempts: Attempts, tmp_path: Path) -> None:
    running = attempts.together(arguments(tmp_path), tmp_path, faults={1: NOT_A_NUMBER})
    assert ended(running) == [1, 1]
    for one in running:
        assert "is not finite; the weights were not changed" in one.words()
    assert running[0].words() == running[1].words()


NO_MEMORY = """
import torch
from vitrail.objectives import Classify
inner, calls = Classify.losses, []
def losses(self, batch):
    calls.append(1)
    if len(calls) > 6:
        raise torch.OutOfMemoryError("CUDA out of memory")
    return inner(self, batch)
Classify.losses = losses
"""


def test_memory_that_runs_out_in_one_ends_all_and_the_last_checkpoint_goes_on(attempts: Attempts, alone: Path,
                                                                               tmp_path: Path) -> None:
    command = arguments(tmp_path, **USUAL)
    stopped = attempts.together(command, tmp_path, faults={0: STOP_AFTER.format(steps=2)})
    assert ended(stopped) == [143, 143]
    running = attempts.together(RESUME, tmp_path, faults={1: NO_MEMORY})
    assert ended(running) == [1, 1]
    assert "Step 6: out of memory with batches of 64 in parts of 32" in running[1].words()
    assert "--set training.micro_batches=4" in running[1].words()
    assert "Process 1 of the 2 that work together does not answer" in running[0].words()
    assert ended(attempts.together([*RESUME, "--set", "training.micro_batches=4"], tmp_path)) == [0, 0]
    assert distance(tmp_path / "run", alone) < 1e-4


@pytest.mark.fault("R11", "A frozen process ends the others within the time of --dist-timeout, and they name it.")
def test_a_frozen_process_is_named(attempts: Attempts, tmp_path: Path) -> None:
    running = attempts.together(arguments(tmp_path, "--dist-timeout", "8s", schedule__steps=100_000), tmp_path)
    running[0].until(lambda: (tmp_path / "run" / "metrics.jsonl").exists())
    os.kill(running[1].process, signal.SIGSTOP)
    assert running[0].code() == 1
    assert "Process 1 of the 2 that work together does not answer" in running[0].words()
    os.kill(running[1].process, signal.SIGKILL)
    assert running[1].code() == -9


@pytest.mark.fault("R11", "When a process is killed, the others end within seconds, say which, and resume goes on.")
def test_a_killed_process_is_named(attempts: Attempts, alone: Path, tmp_path: Path) -> None:
    running = attempts.together(arguments(tmp_path, **USUAL), tmp_path, faults={1: DIE_AT_STEP_5})
    assert running[1].code() == -9
    began = time.monotonic()
    assert running[0].code() == 1
    assert time.monotonic() - began < 10
    assert "Process 1 of the 2 that work together does not answer" in running[0].words()
    assert ended(attempts.together(RESUME, tmp_path)) == [0, 0]
    assert distance(tmp_path / "run", alone) < 1e-4


DIE_AT_STEP_5 = """
import os, signal
from vitrail.run import training as run
inner = run.agree
def agree(shop, due):
    if shop.step == 5:
        os.kill(os.getpid(), signal.SIGKILL)
    return inner(shop, due)
run.agree = agree
"""


@pytest.mark.fault("R11", "Processes that torchrun starts again go on, though its store still knows the dead ones.")
def test_processes_that_are_started_again_do_not_hear_the_dead(attempts: Attempts, alone: Path,
                                                               tmp_path: Path) -> None:
    store = torch.distributed.TCPStore("127.0.0.1", 0, is_master=True, wait_for_workers=False)  # as torchrun has one
    command = [*arguments(tmp_path, **USUAL), "--resume-or-start"]
    agent = {"MASTER_PORT": str(store.port), "TORCHELASTIC_USE_AGENT_STORE": "True"}
    first = attempts.together(command, tmp_path, faults={1: DIE_AT_STEP_5},
                              environment={**agent, "TORCHELASTIC_RESTART_COUNT": "0"})
    assert [one.code() for one in first] == [1, -9]
    again = attempts.together(command, tmp_path, environment={**agent, "TORCHELASTIC_RESTART_COUNT": "1"})
    assert ended(again) == [0, 0]
    assert distance(tmp_path / "run", alone) < 1e-4


def test_processes_with_another_version_are_refused(attempts: Attempts, tmp_path: Path) -> None:
    fault = "import sys; sys.modules['vitrail.workshop.set_up'].__version__ = '0.0'"
    running = attempts.together(arguments(tmp_path), tmp_path, faults={1: fault})
    assert ended(running) == [1, 1]
    assert "Process 1 does not have the version of vitrail of process 0." in running[0].words()


def test_a_batch_that_does_not_divide_is_refused(attempts: Attempts, tmp_path: Path) -> None:
    running = attempts.together(arguments(tmp_path, training__batch_size=63), tmp_path)
    assert ended(running) == [2, 2]
    assert "A global batch of 63 cannot be cut into 2 equal parts. Take a world size of 1, 3, 7" in running[0].words()


def test_a_command_that_may_be_started_again_begins_and_then_goes_on(attempts: Attempts, alone: Path,
                                                                     tmp_path: Path) -> None:
    command = [*arguments(tmp_path, **USUAL), "--resume-or-start"]
    stopped = attempts.together(command, tmp_path, faults={0: STOP_AFTER.format(steps=4)})
    assert ended(stopped) == [143, 143]
    assert ended(attempts.together(command, tmp_path)) == [0, 0]
    assert losses(tmp_path / "run") == pytest.approx(losses(alone), rel=1e-6)


@pytest.mark.fault("D7", "With data.skip_bad_shards two processes leave out the same shard and end together.")
def test_a_cut_shard_is_left_out_by_both(attempts: Attempts, tmp_path: Path) -> None:
    pack(open_source("digits"), tmp_path / "packed", shard_bytes=500_000)
    victim = sorted((tmp_path / "packed").glob("train-*.tar"))[1]
    victim.write_bytes(victim.read_bytes()[:5000])
    changes = {"data__source": f"shards:{tmp_path}/packed", "data__skip_bad_shards": True, "schedule__steps": 4}
    one, two = (trained(attempts, tmp_path / str(size), size, **changes) for size in (1, 2))
    assert losses(two) == pytest.approx(losses(one), rel=1e-6)


def test_pictures_that_cannot_be_read_are_counted_over_all_processes(attempts: Attempts, tmp_path: Path) -> None:
    (tmp_path / "pictures").mkdir()
    digits = open_source("digits").splits["train"]
    for index in range(128):
        place = tmp_path / "pictures" / str(digits.labels[index]) / f"{index}.png"
        place.parent.mkdir(exist_ok=True)
        Image.fromarray(np.asarray(digits.read(index))).save(place)
        if index < 6:
            place.write_bytes(place.read_bytes()[:40])
    changes = {"data__source": str(tmp_path / "pictures"), "data__max_bad": 0.02, "training__batch_size": 32}
    running = attempts.together(arguments(tmp_path, **changes), tmp_path)
    codes = ended(running)
    assert set(codes) <= {1, 3}  # both count them, or one has met enough by itself and the other misses it
    assert "pictures cannot be read; 2 may be bad" in running[codes.index(3)].words()
