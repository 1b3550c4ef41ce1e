"""A teacher that is the average of its student: in steps, in trials, in checkpoints, and in whole runs."""

from __future__ import annotations

import itertools
import math
from pathlib import Path
from typing import Any

import pytest
import torch
from distilling import batch_of, dino
from safetensors.torch import load_file
from test_run_without_labels import DINO, recipe, rows
from tiny import last, train
from torch import Tensor

from vitrail.bundle import Bundle
from vitrail.errors import BundleError, UsageError
from vitrail.events import Noted
from vitrail.objectives import Dino
from vitrail.training.average import Average
from vitrail.training.checkpoint import (
    State,
    load_checkpoint,
    newest_checkpoint,
    read_state,
    snapshot,
    write_checkpoint,
)
from vitrail.training.loop import steps
from vitrail.training.optimizer import OptimizerSettings, build_optimizer
from vitrail.training.precision import Precision, Weights
from vitrail.training.range_test import range_test

RATE = 1e-2


class Learning:
    """An objective with what a loop needs."""

    def __init__(self, precision: Precision = "fp32", **settings: Any) -> None:
        self.objective: Dino = dino(**settings).train()
        self.weights = Weights(self.objective, precision, follower=self.objective.follower())
        self.optimizer = build_optimizer(OptimizerSettings(), self.weights.named_masters(), set())
        self.average = Average(self.weights, follower=self.objective.follower())

    def steps(self, count: int, micro_batches: int = 1) -> None:
        done = itertools.count()
        stream = steps(self.objective, (batch_of(4, first=4 * step) for step in itertools.count()), self.weights,
                       self.optimizer, lambda step: RATE, average=self.average, micro_batches=micro_batches,
                       progress=lambda: next(done) / 10)
        for _ in itertools.islice(stream, count):
            pass

    def teacher(self) -> dict[str, Tensor]:
        return {name: value.clone() for name, value in self.objective.teacher.named_parameters()}


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_the_teacher_is_the_average_of_its_student_by_hand(precision: Precision) -> None:
    learning = Learning(precision, momentum=0.9)
    expected = {name: master.clone() for name, master in learning.weights.named_masters()}
    done = itertools.count()
    stream = steps(learning.objective, itertools.repeat(batch_of(4)), learning.weights, learning.optimizer,
                   lambda step: RATE, average=learning.average, progress=lambda: next(done) / 4)
    before = learning.teacher()
    for step in range(4):
        next(stream)
        kept = 1 - 0.1 * (1 + math.cos(math.pi * step / 4)) / 2
        with torch.no_grad():
            expected = {name: kept * expected[name] + (1 - kept) * master
                        for name, master in learning.weights.named_masters()}
        for name, value in learning.teacher().items():
            torch.testing.assert_close(learning.average.named()[name], expected[name])
            assert torch.equal(value, learning.average.named()[name].to(value.dtype)), name
    assert any(not torch.equal(before[name], value) for name, value in learning.teacher().items())
    assert all(value.dtype == (torch.bfloat16 if precision == "bf16" else torch.float32) for value in before.values())


def test_no_copies_of_the_teacher_are_kept() -> None:
    learning = Learning("bf16")
    assert not any(name.startswith("teacher.") for name in learning.weights.names)
    assert not learning.weights.frozen


def test_prototypes_wait_without_a_trace() -> None:
    """Not even in the optimizer, whose first steps would be too large after steps without a gradient."""
    learning = Learning(hold_prototypes=0.15)
    name = "heads.images.prototypes.weight"
    master = dict(learning.weights.named_masters())[name]
    before = master.clone()
    learning.steps(2)  # at 0 and 0.1 of the run
    assert torch.equal(master, before)
    assert master not in learning.optimizer.state
    learning.steps(3)  # at 0, 0.1 and 0.2
    assert not torch.equal(master, before)


def test_trials_leave_teacher_and_center_as_they_were() -> None:
    learning = Learning()
    learning.steps(2)
    teacher, center = learning.teacher(), learning.objective.memory()["center.images"].clone()
    student = {name: value.clone() for name, value in learning.weights.named_masters()}
    range_test(learning.objective, itertools.repeat(batch_of(4)), learning.weights, OptimizerSettings(), count=20)
    assert all(torch.equal(value, teacher[name]) for name, value in learning.teacher().items())
    assert torch.equal(learning.objective.memory()["center.images"], center)
    assert all(torch.equal(value, student[name]) for name, value in learning.weights.named_masters())
    undisturbed = Learning()
    undisturbed.steps(2)
    for one in (learning, undisturbed):
        one.steps(1)  # what the trial said is not in the next center
    assert torch.equal(learning.objective.memory()["center.images"], undisturbed.objective.memory()["center.images"])


# Checkpoints.

STATE: dict[str, Any] = {"step": 2, "samples": 8, "seconds": 1.0, "recipe": "", "threads": 1,
                         "backend": ("fp32", None, "")}


def test_a_checkpoint_brings_teacher_and_center_back(tmp_path: Path) -> None:
    first, second = Learning(), Learning()
    first.steps(3)
    taken = snapshot(first.weights, first.optimizer, State(**STATE), first.average, first.objective.memory())
    path = write_checkpoint(tmp_path, taken)
    assert load_file(path / "memory.safetensors").keys() == {"center.images"}
    load_checkpoint(path, second.weights, second.optimizer, second.average, second.objective.memory())
    assert all(torch.equal(value, second.teacher()[name]) for name, value in first.teacher().items())
    assert torch.equal(first.objective.memory()["center.images"], second.objective.memory()["center.images"])
    assert first.objective.memory()["center.images"].any()


@pytest.mark.fault("R2", "What an objective remembers is checked: a center of another size or name is refused.")
def test_a_memory_that_does_not_fit_is_refused(tmp_path: Path) -> None:
    learning = Learning()
    taken = snapshot(learning.weights, learning.optimizer, State(**STATE), learning.average,
                     {"center.images": torch.zeros(5)})
    path = write_checkpoint(tmp_path, taken)
    load = (path, learning.weights, learning.optimizer, learning.average)
    with pytest.raises(BundleError, match=r"its memory: center\.images is \(5,\) there and \(24,\) here"):
        load_checkpoint(*load, learning.objective.memory())
    with pytest.raises(BundleError, match=r"its memory: .*no center\.patches"):
        load_checkpoint(*load, {"center.images": torch.zeros(5), "center.patches": torch.zeros(5)})
    (path / "memory.safetensors").unlink()
    with pytest.raises(BundleError, match="cannot be read"):
        load_checkpoint(*load, learning.objective.memory())
    found, troubles = newest_checkpoint(tmp_path)
    assert found is None
    assert "memory.safetensors" in troubles[0]


# Whole runs.


def test_the_bundle_of_a_run_is_the_teacher(tmp_path: Path) -> None:
    finished = last(train(recipe(**DINO, schedule__steps=4), tmp_path / "run"))
    checkpoint, _ = newest_checkpoint(tmp_path / "run" / "checkpoints")
    assert checkpoint is not None
    assert read_state(checkpoint).step == 4
    average = load_file(checkpoint / "average.safetensors")
    for name, value in finished.bundle.model.state_dict().items():
        if value.numel():
            assert torch.equal(value, average[f"model.{name}"])
    student = load_file(checkpoint / "weights.safetensors")
    assert any(not torch.equal(student[name], average[name]) for name in student)


def test_a_run_with_adapters_ends_in_a_plain_model(tmp_path: Path) -> None:
    from vitrail.recipes.finetune import weights_settings

    train(recipe(**DINO, schedule__steps=2, model__settings={}), tmp_path / "first")
    settings = weights_settings(str(tmp_path / "first"), (8, 8)).model_dump(mode="json")
    finished = last(train(recipe(**DINO, schedule__steps=2, model__settings={}, model__weights=settings,
                                 training__adapters={"rank": 2}), tmp_path / "run"))
    assert finished.measured is not None
    assert finished.bundle.model.state_dict().keys() == Bundle.load(tmp_path / "first").model.state_dict().keys()


def test_pictures_that_are_all_alike_are_told(tmp_path: Path) -> None:
    """Nothing tells one from another, so that one answer for all is as good as any."""
    from PIL import Image

    (tmp_path / "photos").mkdir()
    for number in range(20):
        Image.new("RGB", (8, 8), (128,) * 3).save(tmp_path / "photos" / f"{number}.png")
    changes = {"data__source": str(tmp_path / "photos"), "data__labeled": False, "data__validation": 0.0,
               "training__batch_size": 8, "schedule__steps": 20, "augmentation__multi_crop__recolored": 0,
               "augmentation__multi_crop__solarize": 0, "model__settings": {}}
    events = train(recipe(**{**DINO, **changes}), tmp_path / "run")
    assert len([one for one in events if isinstance(one, Noted) and "nothing is learned" in one.text]) == 1


@pytest.mark.parametrize(("changes", "words"), [
    ({"training__average": 0.9}, "has a moving average of its own"),
    ({"augmentation__crop": "pad"}, r"set augmentation\.crop=none"),
    ({"augmentation__multi_crop__local_size": 6}, r"local_size: .*6x6"),
    ({"objective__name": "mae", "objective__dino": {}}, r"multi_crop is for objective\.name=dino"),
    ({"objective__dino": {"teacher_temperature": [0.04, 0.5]}}, "surer one"),
])
def test_what_does_not_fit_is_refused(changes: dict[str, Any], words: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=words):
        train(recipe(**{**DINO, **changes}), tmp_path / "run")


def test_what_it_sees_stands_in_the_report_and_on_the_board(tmp_path: Path) -> None:
    train(recipe(**DINO, schedule__steps=2), tmp_path / "run", report=True)
    page = (tmp_path / "run" / "report.html").read_text()
    assert "What it sees" in page
    assert "principal components" in page
    assert any(b"features" in file.read_bytes() for file in (tmp_path / "run" / "tb").iterdir())
    assert rows(tmp_path / "run", "train/teacher_entropy")
