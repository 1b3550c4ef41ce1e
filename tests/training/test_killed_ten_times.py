"""A run that is killed ten times at random moments, and in the middle of it goes from one process to two."""

from __future__ import annotations

import os
import random
import signal
import time
from pathlib import Path

import pytest
import torch
from attempts import Attempts, Running
from test_parallel import RESUME, arguments, distance, losses, trained, weights

from vitrail.training.checkpoint import step_folders

STEPS, KILLS, SWITCH = 600, 10, 5
CHANGES = {"schedule__steps": STEPS, "training__average": 0.99, "training__log_every": 1,
           "training__checkpoint_seconds": 0.02}


def newest(run: Path) -> int:
    return max((int(folder.name[5:]) for folder in step_folders(run / "checkpoints")), default=0)


def killed(running: list[Running], run: Path, draws: random.Random) -> None:
    """Let it save something new, then kill one of its processes some time later; the others end by themselves."""
    before = newest(run)
    running[0].until(lambda: newest(run) > before)
    time.sleep(draws.uniform(0, 0.05))
    victim = draws.choice(running)
    os.kill(victim.process, signal.SIGKILL)
    assert victim.code() in (-9, 0)  # 0 where it was faster
    for other in running:
        if other is not victim:
            assert other.code() == 1


@pytest.mark.fault("R1", "A run killed ten times at random moments, once going from one process to two, ends as it "
                   "would have without; bit by bit where the number of processes stays.")
@pytest.mark.parametrize("sizes", [[1] * KILLS + [1], [1] * SWITCH + [2] * (KILLS - SWITCH) + [2]],
                         ids=["one process", "one, then two"])
def test_ten_kills_change_nothing(sizes: list[int], attempts: Attempts, tmp_path: Path) -> None:
    undisturbed = trained(attempts, tmp_path / "undisturbed", 1, **CHANGES)
    draws = random.Random(7)
    command = arguments(tmp_path, **CHANGES)
    for size in sizes[:-1]:
        running = attempts.together(command, tmp_path, size=size)
        killed(running, tmp_path / "run", draws)
        command = RESUME
    assert 0 < newest(tmp_path / "run") < STEPS  # every kill hit a run that was going on
    for one in attempts.together(RESUME, tmp_path, size=sizes[-1]):
        assert one.code() == 0
    if len(set(sizes)) == 1:
        assert losses(tmp_path / "run") == losses(undisturbed)
        ours, theirs = weights(tmp_path / "run"), weights(undisturbed)
        assert all(torch.equal(ours[name], theirs[name]) for name in theirs)
    else:
        assert losses(tmp_path / "run") == pytest.approx(losses(undisturbed), rel=1e-3)
        assert distance(tmp_path / "run", undisturbed) < 1e-2
