"""A whole run: what it leaves behind, what it survives, and that going on is the same as never having stopped."""

from __future__ import annotations

import json
import resource
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from tiny import last, tiny_recipe, train

import vitrail
from vitrail import native
from vitrail.bundle import Bundle
from vitrail.errors import BundleError, DivergedError, RunError, SaveError, UsageError
from vitrail.events import Evaluated, Noted, Stepped, Understood
from vitrail.files import sha256, verify_manifest
from vitrail.recipe import read_recipe
from vitrail.training import backend as choosing
from vitrail.training import saving
from vitrail.training.journal import read_journal
from vitrail.training.saving import Saver

GOLDEN_WEIGHTS = Path(__file__).parent / "golden"


def weights_of(folder: Path) -> dict[str, torch.Tensor]:
    return load_file(folder / "bundle" / "model.safetensors")


def same(first: dict[str, torch.Tensor], second: dict[str, torch.Tensor]) -> bool:
    return first.keys() == second.keys() and all(torch.equal(first[name], second[name]) for name in first)


def test_a_run_leaves_everything_it_promises(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    events = train(tiny_recipe(), folder, report=True)
    understood = events[0]
    assert isinstance(understood, Understood)
    assert {"data", "classes", "model", "whole run"} <= {subject for subject, _ in understood.rows}
    assert [event.step.step for event in events if isinstance(event, Stepped)] == list(range(1, 11))
    assert last(events).split == "test"
    rows = read_journal(folder / "metrics.jsonl")
    assert all({"step", "samples"} <= row.keys() for row in rows)
    assert [row["step"] for row in rows if "train/loss" in row] == list(range(1, 11))
    assert list((folder / "tb").glob("events*"))
    assert (folder / "report.html").stat().st_size > 1000
    verify_manifest(folder / "bundle")
    bundle = vitrail.load(folder)
    assert bundle.classes == tuple("0123456789")
    assert bundle.provenance["recipe"]["model"]["name"] == "mu/4"
    assert bundle.provenance["evaluation"]["top1"] == last(events).evaluation.top1


def test_the_recipe_of_a_run_does_it_again_to_the_bit(tmp_path: Path) -> None:
    train(tiny_recipe(), tmp_path / "one")
    again = vitrail.recipe.read_recipe(tmp_path / "one" / "recipe.json")  # type: ignore[attr-defined]
    train(again, tmp_path / "two")
    assert same(weights_of(tmp_path / "one"), weights_of(tmp_path / "two"))
    other = train(again.replaced({"seed": 1}), tmp_path / "three")
    assert last(other).steps == 10
    assert not same(weights_of(tmp_path / "one"), weights_of(tmp_path / "three"))


@pytest.mark.parametrize("settings", [{"positions": "relative-bias", "pooling": "mean"},
                                      {"positions": "rotary-2d", "rotary_unit": "grid"}], ids=str)
def test_other_positions_learn_and_repeat_themselves(tmp_path: Path, settings: dict[str, Any]) -> None:
    recipe = tiny_recipe(model__settings=settings, schedule__steps=40, optimizer__learning_rate=1e-2)
    losses = [event.step.parts["loss"] for event in train(recipe, tmp_path / "one") if isinstance(event, Stepped)]
    assert losses[-1] < 0.9 * losses[0]
    train(recipe, tmp_path / "two")
    assert same(weights_of(tmp_path / "one"), weights_of(tmp_path / "two"))
    tables = [value for name, value in weights_of(tmp_path / "one").items() if ".positions." in name]
    assert all(table.any() for table in tables)


PER_EPOCH = 20  # 1,293 training digits in batches of 64: the 21st batch straddles the end of the epoch


@pytest.mark.fault("R5", "After 1, 3 or 5 interruptions, also around the end of an epoch, weights and losses are "
                   "equal to the bit.")
@pytest.mark.parametrize("cuts", [(1,), (PER_EPOCH - 1, PER_EPOCH, PER_EPOCH + 1), (3, 4, 9, 15, 22)])
@pytest.mark.parametrize("changes", [{}, {"training__precision": "bf16", "training__micro_batches": 3,
                                          "data__workers": 2, "optimizer__name": "sgd"},
                                     {"augmentation__mixup": 0.4, "augmentation__cutmix": 1.0, "data__workers": 2,
                                      "augmentation__randaugment": {"layers": 2, "magnitude": 5}}])
def test_going_on_equals_never_having_stopped(tmp_path: Path, cuts: tuple[int, ...], changes: dict[str, Any]) -> None:
    recipe = tiny_recipe(schedule__steps=25, **changes)
    train(recipe, tmp_path / "whole")
    for number, cut in enumerate(cuts):
        train(recipe, tmp_path / "cut", stop_after=cut, resume=number > 0)
    events = train(recipe.replaced({"data.workers": 0}), tmp_path / "cut", resume=True)
    assert last(events).steps == 25
    assert same(weights_of(tmp_path / "whole"), weights_of(tmp_path / "cut"))
    rows = [[(row["step"], row["train/loss"]) for row in read_journal(tmp_path / name / "metrics.jsonl")
             if "train/loss" in row] for name in ("whole", "cut")]
    assert rows[0] == rows[1]


@pytest.fixture
def native_kernels(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Attention by vitrail's own kernels is the faster one, however busy the machine is."""
    if native.trouble():
        pytest.skip(native.trouble())
    monkeypatch.setattr(choosing, "time_attention", lambda kernel, *_: float(kernel != "native"))
    monkeypatch.setattr(choosing, "time_layers", lambda own, *_: float(not own))
    choosing.measure_backend.cache_clear()
    yield
    choosing.measure_backend.cache_clear()


@pytest.mark.fault("R5", "So they are where vitrail's own kernels compute.")
@pytest.mark.usefixtures("native_kernels")
def test_going_on_with_native_kernels_equals_never_having_stopped(tmp_path: Path) -> None:
    recipe = tiny_recipe(schedule__steps=12, training__precision="bf16", training__micro_batches=2)
    train(recipe, tmp_path / "whole")
    begun = read_journal(tmp_path / "whole" / "metrics.jsonl")[0]
    assert begun["backend"]["attention"] == "native"
    assert "native" in begun["backend"]["reason"]
    for number, cut in enumerate((2, 7)):
        train(recipe, tmp_path / "cut", stop_after=cut, resume=number > 0)
    assert last(train(recipe, tmp_path / "cut", resume=True)).steps == 12
    assert same(weights_of(tmp_path / "whole"), weights_of(tmp_path / "cut"))


@pytest.mark.fault("R5", "Where the kernels of the run cannot be had any more, it goes on with torch's and says so.")
@pytest.mark.usefixtures("native_kernels")
def test_a_run_goes_on_without_the_kernels_that_it_began_with(
        tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    recipe = tiny_recipe(schedule__steps=12, training__precision="bf16")
    train(recipe, tmp_path / "run", stop_after=6)
    monkeypatch.setattr(native.build, "library", lambda sources: "no C++ compiler (apt install g++)")
    events = train(recipe, tmp_path / "run", resume=True)
    assert last(events).steps == 12
    said = " ".join(str(event) for event in events)
    assert "not to be had here (no C++ compiler (apt install g++))" in said


@pytest.mark.fault("R4", "A run that is asked to stop leaves a checkpoint and a Bundle.")
def test_a_signal_leaves_a_bundle_that_loads(tmp_path: Path) -> None:
    events = train(tiny_recipe(), tmp_path / "run", stop_after=3)
    assert last(events).signal == 2
    assert last(events).steps == 3
    assert vitrail.load(tmp_path / "run").provenance["step"] == 3


@pytest.mark.fault("R4", "So does one that is asked before its first step.")
def test_a_signal_before_the_first_step_leaves_one_too(tmp_path: Path) -> None:
    from vitrail.run import run
    from vitrail.training.guard import Interrupts

    interrupts = Interrupts()
    interrupts.signal = 15
    events = list(run(tiny_recipe(), tmp_path / "run", interrupts=interrupts))
    assert last(events).signal == 15
    assert vitrail.load(tmp_path / "run").provenance["step"] == 0


def test_a_run_at_its_end_says_so(tmp_path: Path) -> None:
    train(tiny_recipe(schedule__steps=2), tmp_path / "run")
    again = train(tiny_recipe(schedule__steps=2), tmp_path / "run", resume=True)[0]
    assert isinstance(again, Understood)
    assert "the run was at its end, after step 2: nothing is trained" in again.warnings[0]


@pytest.mark.fault("R2", "A run that goes on from the one before ends equal to the bit to one that was never "
                   "interrupted.")
def test_a_damaged_checkpoint_is_set_aside_and_the_one_before_is_used(tmp_path: Path) -> None:
    recipe = tiny_recipe(schedule__steps=12)
    train(recipe, tmp_path / "whole")
    train(recipe, tmp_path / "cut", stop_after=4)
    train(recipe, tmp_path / "cut", stop_after=8, resume=True)
    weights = tmp_path / "cut" / "checkpoints" / "step-00000008" / "weights.safetensors"
    data = bytearray(weights.read_bytes())
    data[-5] ^= 1
    weights.write_bytes(data)
    events = train(recipe, tmp_path / "cut", resume=True)
    understood = events[0]
    assert isinstance(understood, Understood)
    assert "weights.safetensors has changed" in understood.warnings[0]
    assert "going on after step 4" in understood.warnings[1]
    assert (tmp_path / "cut" / "checkpoints" / "step-00000008.corrupt").exists()
    assert same(weights_of(tmp_path / "whole"), weights_of(tmp_path / "cut"))


@pytest.mark.fault("R2", "A checkpoint that is damaged again at the same step gets a name of its own.")
def test_a_step_that_is_damaged_twice_is_set_aside_twice(tmp_path: Path) -> None:
    recipe = tiny_recipe(schedule__steps=12)
    train(recipe, tmp_path, stop_after=4)
    for name in ("step-00000004.corrupt", "step-00000004.corrupt1"):
        (tmp_path / "checkpoints" / "step-00000004" / "weights.safetensors").write_bytes(b"")
        shutil.rmtree(tmp_path / "bundle")  # which would be lost by beginning anew
        train(recipe, tmp_path, stop_after=4, resume=True)
        assert (tmp_path / "checkpoints" / name).is_dir()
    assert last(train(recipe, tmp_path, resume=True)).steps == 12


def test_a_run_that_goes_on_for_longer_keeps_its_length(tmp_path: Path) -> None:
    train(tiny_recipe(), tmp_path / "run")
    train(tiny_recipe(schedule__steps=14), tmp_path / "run", resume=True)
    kept = read_recipe(tmp_path / "run" / "recipe.json")
    assert kept.schedule.steps == 14
    assert last(train(kept, tmp_path / "run", resume=True)).steps == 14


@pytest.mark.fault("R1", "A run that was killed before it had a recipe is started again in the same folder.")
def test_a_recipe_half_written_is_no_run(tmp_path: Path) -> None:
    (tmp_path / ".tmp-recipe.json-1").write_text("{")
    (tmp_path / ".lock").write_text("1")
    assert last(train(tiny_recipe(), tmp_path)).steps == 10


def test_only_the_newest_checkpoints_are_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Saver, "busy", False)  # so that every step is saved, however fast the next one comes
    train(tiny_recipe(training__checkpoint_seconds=1e-9), tmp_path / "run")
    names = sorted(path.name for path in (tmp_path / "run" / "checkpoints").iterdir())
    assert names == ["step-00000009", "step-00000010"]


def test_the_best_by_validation_is_kept_on_request(tmp_path: Path) -> None:
    recipe = tiny_recipe(evaluation__keep="best", evaluation__every_epochs=0.1, optimizer__learning_rate=0.01)
    events = train(recipe, tmp_path / "run")
    scores = {event.step: event.evaluation.top1 for event in events
              if isinstance(event, Evaluated) and event.split == "val"}
    best = max(scores, key=lambda step: (scores[step], -step))
    assert vitrail.load(tmp_path / "run").provenance["step"] == best
    kept = vitrail.evaluate(tmp_path / "run", split="val")
    assert kept.top1 == pytest.approx(scores[best], abs=0.02)


def test_time_decides_where_it_is_asked_to(tmp_path: Path) -> None:
    events = train(tiny_recipe(schedule__seconds=1.0), tmp_path / "run")
    steps = [event for event in events if isinstance(event, Stepped)]
    assert 1.0 <= last(events).seconds < 3.0
    assert steps[-1].step.learning_rate < 0.1 * max(step.step.learning_rate for step in steps)


@pytest.mark.fault("R14", "A clock that jumps by days changes neither how long a run takes nor when it saves.")
def test_a_clock_that_jumps_changes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import itertools
    import time

    jumps = itertools.cycle((1e6, -1e6, 3e5, 0.0))
    true = time.time
    monkeypatch.setattr(time, "time", lambda: true() + next(jumps))
    saved = []
    write = saving.write_checkpoint
    monkeypatch.setattr(saving, "write_checkpoint", lambda *given: saved.append(time.monotonic()) or write(*given))
    events = train(tiny_recipe(schedule__seconds=1.0, training__checkpoint_seconds=0.3), tmp_path)
    assert 1.0 <= last(events).seconds < 3.0
    pauses = np.diff(saved)
    assert 2 <= len(pauses) <= 4
    assert min(pauses[:-1]) >= 0.3  # the last one comes at the end, whenever that is
    rows = [row for row in read_journal(tmp_path / "metrics.jsonl") if "train/loss" in row]
    assert all(0 < row["train/seconds_per_step"] < 1 for row in rows)


def test_a_dry_run_says_what_it_would_do_and_leaves_nothing(tmp_path: Path) -> None:
    events = train(tiny_recipe(), tmp_path / "run", dry_run=True)
    assert len(events) == 1
    assert isinstance(events[0], Understood)
    assert events[0].seconds > 0
    assert not (tmp_path / "run").exists()


def test_a_folder_with_another_run_is_refused(tmp_path: Path) -> None:
    train(tiny_recipe(), tmp_path / "run")
    before = sha256(tmp_path / "run" / "bundle" / "model.safetensors")
    with pytest.raises(UsageError, match=r"already holds another run. Choose another --out, or go on .* --resume"):
        train(tiny_recipe(), tmp_path / "run")
    assert sha256(tmp_path / "run" / "bundle" / "model.safetensors") == before
    with pytest.raises(UsageError, match="no run to resume"):
        train(tiny_recipe(), tmp_path / "nothing", resume=True)
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "letter.txt").write_text("dear")
    with pytest.raises(UsageError, match="is not empty"):
        train(tiny_recipe(), tmp_path / "mine")


def test_another_recipe_is_not_gone_on_with(tmp_path: Path) -> None:
    train(tiny_recipe(), tmp_path / "run", stop_after=2)
    with pytest.raises(RunError, match="another recipe"):
        train(tiny_recipe(optimizer__learning_rate=1.0), tmp_path / "run", resume=True)


def test_augmentation_is_part_of_what_a_run_is() -> None:
    recipe = tiny_recipe()
    assert vitrail.Recipe.model_validate_json(recipe.model_dump_json()) == recipe
    changes: dict[str, Any] = {"randaugment.layers": 2, "randaugment.magnitude": 15, "mixup": 0.2, "mix_group": 4,
                               "crop": "inception", "erase_with": "noise", "three_augment": True}
    changed = [recipe.replaced({f"augmentation.{name}": value}) for name, value in changes.items()]
    assert len({one.identity() for one in (recipe, *changed)}) == len(changes) + 1
    assert recipe.replaced({"evaluation.every_epochs": 3.0, "training.freeze": []}).identity() == recipe.identity()
    with pytest.raises(UsageError, match=r"Did you mean 'augmentation\.randaugment\.layers'"):
        recipe.replaced({"augmentation.randaugment.layer": 2})
    with pytest.raises(UsageError, match=r"augmentation\.randaugment\.magnitude: .*less than or equal to 30"):
        recipe.replaced({"augmentation.randaugment.magnitude": 99})


def test_a_finished_run_can_be_resumed_to_train_longer(tmp_path: Path) -> None:
    train(tiny_recipe(schedule__kind="constant", schedule__warmup=0), tmp_path / "run")
    events = train(tiny_recipe(schedule__kind="constant", schedule__warmup=0, schedule__steps=14), tmp_path / "run",
                   resume=True)
    assert last(events).steps == 14


def test_several_labels_an_image_train_with_the_sigmoid_and_report_average_precision(tmp_path: Path) -> None:
    """Two labels that can be seen at a glance: bright, and red."""
    from PIL import Image

    random = np.random.default_rng(0)
    lines = ["path,label"]
    for number in range(120):
        bright, red = random.random(2) < 0.5
        color = np.array([90 + 120 * bright + 40 * red, 50 + 120 * bright, 50 + 120 * bright])
        pixels = np.clip(color + random.normal(0, 10, (8, 8, 3)), 0, 255).astype(np.uint8)
        Image.fromarray(pixels).save(tmp_path / f"{number}.png")
        lines.append(f"{number}.png,{'|'.join(['bright'] * bool(bright) + ['red'] * bool(red))}")
    (tmp_path / "labels.csv").write_text("\n".join(lines))
    recipe = tiny_recipe(data__source=str(tmp_path / "labels.csv"), schedule__steps=60, training__batch_size=32)
    events = train(recipe, tmp_path / "run")
    evaluation = last(events).evaluation
    assert evaluation is not None
    assert evaluation.top1 is None
    assert evaluation.mean_average_precision > 0.9
    assert vitrail.load(tmp_path / "run").activation == "sigmoid"
    with pytest.raises(UsageError, match="several labels an image"):
        train(recipe.replaced({"objective.loss": "softmax"}), tmp_path / "other")


@pytest.mark.parametrize("loss", ["softmax", "sigmoid"])
def test_mixing_does_not_depend_on_micro_batches(tmp_path: Path, loss: str) -> None:
    """Micro-batches of 13, 13, 13, 13 and 12 images cut through groups of 8; the losses are the same to rounding."""
    recipe = tiny_recipe(augmentation__mixup=0.8, augmentation__cutmix=1.0, model__settings={}, objective__loss=loss,
                         objective__label_smoothing=0.1)
    plain = recipe.replaced({"augmentation.mixup": 0, "augmentation.cutmix": 0})
    steps = {name: [event.step for event in train(changed, tmp_path / name) if isinstance(event, Stepped)]
             for name, changed in (("whole", recipe), ("cut", recipe.replaced({"training.micro_batches": 5})),
                                   ("plain", plain))}
    losses = {name: [step.parts["loss"] for step in taken] for name, taken in steps.items()}
    assert losses["cut"] == pytest.approx(losses["whole"], rel=1e-6)
    assert losses["plain"] != pytest.approx(losses["whole"], rel=1e-3)
    assert all(0 <= step.parts["top1"] <= 1 for step in steps["whole"])


def full_disk() -> None:
    resource.setrlimit(resource.RLIMIT_FSIZE, (40_000, 40_000))


@pytest.mark.fault("R3", "The last save failing spares the older checkpoint and ends in one message and exit code 1.")
def test_no_space_left_spares_the_older_checkpoint_and_ends_in_one_message(tmp_path: Path) -> None:
    """A limit on file size stands in for a full disk: the write fails in the same place."""
    recipe = tiny_recipe(schedule__steps=12)
    train(recipe, tmp_path / "run", stop_after=4)
    kept = tmp_path / "run" / "checkpoints" / "step-00000004"
    before = {path.name: sha256(path) for path in kept.iterdir()}
    (tmp_path / "recipe.json").write_text(recipe.model_dump_json())
    result = subprocess.run([sys.executable, "-m", "vitrail", "train", "--resume", "--out", str(tmp_path / "run")],
                            capture_output=True, text=True, preexec_fn=full_disk)
    assert result.returncode == 1, result.stderr
    assert "Traceback" not in result.stderr
    assert "error: Cannot save" in result.stderr
    assert {path.name: sha256(path) for path in kept.iterdir()} == before
    assert Bundle.load(tmp_path / "run").provenance["step"] == 4
    assert not list((tmp_path / "run").rglob(".tmp-*"))


@pytest.mark.fault("R3", "A checkpoint that cannot be saved is told, tried again later, and costs nothing else.")
def test_a_checkpoint_that_cannot_be_saved_does_not_stop_the_run(tmp_path: Path, monkeypatch: Any) -> None:
    from vitrail.training import saving

    calls = []
    monkeypatch.setattr(Saver, "busy", False)

    def refuse(*arguments: Any) -> Path:
        calls.append(arguments)
        raise SaveError("Cannot save: no space left.")

    monkeypatch.setattr(saving, "write_checkpoint", refuse)
    events = train(tiny_recipe(training__checkpoint_seconds=1e-9), tmp_path / "run")
    assert len(calls) >= 10
    assert last(events).steps == 10
    assert any(isinstance(event, Noted) and "tries again" in event.text for event in events)


@pytest.mark.fault("R7", "Weights that are not finite are never saved: the checkpoint before them stays the newest.")
def test_weights_that_are_not_finite_are_never_saved(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from vitrail.run import training as module

    steps = module.steps

    def spoiling(objective: Any, batches: Any, weights: Any, *given: Any, **settings: Any) -> Any:
        for step in steps(objective, batches, weights, *given, **settings):
            if step.step == 5:
                weights.masters[0].data[0] = float("inf")
            yield step

    train(tiny_recipe(), tmp_path / "run", stop_after=4)
    monkeypatch.setattr(module, "steps", spoiling)
    with pytest.raises(DivergedError, match=r"After step 5 the weights are not finite, so they are not saved"):
        train(tiny_recipe(training__checkpoint_seconds=1e-9), tmp_path / "run", resume=True)
    assert [path.name for path in (tmp_path / "run" / "checkpoints").iterdir()] == ["step-00000004"]


def test_the_journal_is_json_lines(tmp_path: Path) -> None:
    train(tiny_recipe(), tmp_path / "run")
    for line in (tmp_path / "run" / "metrics.jsonl").read_text().splitlines():
        assert isinstance(json.loads(line), dict)


GOLDEN = {
    ("fp32", 0.0): [2.30259, 2.30281, 2.30293, 2.29612, 2.28556, 2.29737, 2.28001, 2.2625, 2.26569, 2.28298],
    ("bf16", 0.0): [2.30259, 2.30269, 2.30228, 2.29593, 2.28601, 2.29598, 2.2767, 2.25908, 2.26275, 2.28443],
    ("fp32", 0.1): [2.30259, 2.30352, 2.30397, 2.30414, 2.28947, 2.28652, 2.28354, 2.26691, 2.27152, 2.28649],
    ("bf16", 0.1): [2.30259, 2.30351, 2.30395, 2.3041, 2.2896, 2.28647, 2.28327, 2.26692, 2.27154, 2.28667],
}
"""By precision and dropout. Recorded on 2026-11-23; those with dropout on 2026-11-25, when the last block began to
compute, and so to draw random numbers for, the class token alone."""


@pytest.fixture
def products_kernel(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Attention by products is the faster one, however busy the machine is."""
    monkeypatch.setattr(choosing, "time_attention", lambda kernel, *_: float(kernel != "products"))
    choosing.measure_backend.cache_clear()
    yield
    choosing.measure_backend.cache_clear()


@pytest.mark.usefixtures("products_kernel")
@pytest.mark.parametrize(("precision", "dropout"), GOLDEN)
def test_golden_losses(tmp_path: Path, precision: str, dropout: float) -> None:
    """The first ten losses of seed 0: order, augmentation, dropout, model and optimizer."""
    recipe = tiny_recipe(training__precision=precision, model__settings={"dropout": dropout})
    losses = [event.step.parts["loss"] for event in train(recipe, tmp_path / "run") if isinstance(event, Stepped)]
    assert losses == pytest.approx(GOLDEN[precision, dropout], abs=1e-4 if precision == "fp32" else 2e-3)


OTHERS: dict[str, dict[str, Any]] = {
    "R26x0.25": {"depths": (1, 2)},
    "R26x0.25+mu/4": {"stem_depths": (1,), "positions": "sincos-2d", "dropout": 0.1},
    "axial-mu/4": {"dropout": 0.1},
    "axial-R26x0.25": {"depths": (1, 2)},
}


@pytest.mark.parametrize(("name", "settings"), OTHERS.items(), ids=OTHERS)
def test_a_run_of_another_family_goes_on_to_the_bit_and_leaves_its_report(
        tmp_path: Path, name: str, settings: dict[str, Any]) -> None:
    recipe = tiny_recipe(model__name=name, model__settings=settings, preprocess__size=(16, 16), schedule__steps=4,
                         training__precision="bf16", training__micro_batches=2, training__batch_size=32)
    whole = last(train(recipe, tmp_path / "whole", report=True))
    train(recipe, tmp_path / "cut", stop_after=2)
    train(recipe, tmp_path / "cut", resume=True)
    assert same(weights_of(tmp_path / "whole"), weights_of(tmp_path / "cut"))
    loaded = Bundle.load(tmp_path / "whole")
    assert loaded.model.config == whole.bundle.model.config
    assert loaded.model.config.name.startswith(name)
    assert (tmp_path / "whole" / "report.html").exists()


@pytest.mark.parametrize(
    ("model", "kernel", "measured", "described"), [
        ("R26x0.25", False, "convolutions", "2-2-2-2 units"), ("R26x0.25+mu/4", True, "convolutions", "8 units"),
        ("axial-mu/4", True, "2 heads, 4 tokens", "1 layer, each along rows and then columns"),
        ("axial-R26x0.25", False, "axial attention", "AxialResNet with 2-2-2-2 units")])
def test_a_backend_is_measured_for_every_family(
        tmp_path: Path, model: str, kernel: bool, measured: str, described: str) -> None:
    """By what most of the work is."""
    recipe = tiny_recipe(model__name=model, model__settings={}, preprocess__size=(16, 16), training__precision="auto",
                         training__batch_size=4)
    understood = train(recipe, tmp_path / "run", dry_run=True)[0]
    words = dict(understood.rows)  # type: ignore[union-attr]
    assert ("attention by" in words["computing"]) == kernel
    assert measured in words["computing"]
    assert described in words["model"]


# Runs that start from trained weights.


def started_recipe(weights: Path, **changes: Any) -> Any:
    from vitrail.data.source import open_source
    from vitrail.recipes import RECIPES

    recipe = RECIPES["default"](open_source("digits"), weights=str(weights), image_size=(16, 48))
    return recipe.replaced({"schedule.steps": 6, "training.batch_size": 16, "training.precision": "fp32"} | {
        name.replace("__", "."): value for name, value in changes.items()})


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_a_run_from_weights_goes_on_to_the_bit_without_the_file(tmp_path: Path, precision: str) -> None:
    weights = shutil.copy(GOLDEN_WEIGHTS / "vit_token_prelogits.npz", tmp_path / "given.npz")
    recipe = started_recipe(weights, training__precision=precision, model__settings__dropout=0.1)
    whole = last(train(recipe, tmp_path / "whole"))
    train(recipe, tmp_path / "cut", stop_after=2)
    weights.unlink()
    events = train(recipe, tmp_path / "cut", resume=True)
    assert same(weights_of(tmp_path / "whole"), weights_of(tmp_path / "cut"))
    words = dict(events[0].rows)["weights"]
    assert words == (f"{weights} (official): its whole head goes, zeros for 10 classes come; positions resampled from "
                     "2x2 to 1x3 (bilinear-corners)")
    assert whole.bundle.provenance["started"] == words
    with pytest.raises(BundleError, match=f"no Bundle at {weights}"):
        train(recipe, tmp_path / "new")


def test_the_recipe_of_a_run_from_weights_does_it_again_wherever_they_lie(tmp_path: Path) -> None:
    recipe = started_recipe(GOLDEN_WEIGHTS / "big_vision_map.npz")
    train(recipe, tmp_path / "one")
    moved = shutil.copy(GOLDEN_WEIGHTS / "big_vision_map.npz", tmp_path / "moved")
    again = vitrail.recipe.read_recipe(tmp_path / "one" / "recipe.json")  # type: ignore[attr-defined]
    train(again.replaced({"model.weights.path": str(moved)}), tmp_path / "two")
    assert same(weights_of(tmp_path / "one"), weights_of(tmp_path / "two"))
    shutil.copy(GOLDEN_WEIGHTS / "vit_token.npz", moved)
    with pytest.raises(RunError, match="its SHA-256 is another"):
        train(again.replaced({"model.weights.path": str(moved)}), tmp_path / "three")


def test_a_run_from_weights_starts_with_their_features(tmp_path: Path) -> None:
    recipe = started_recipe(GOLDEN_WEIGHTS / "vit_token_prelogits.npz", optimizer__learning_rate=1e-12)
    train(recipe, tmp_path / "run")
    given = vitrail.load(GOLDEN_WEIGHTS / "vit_token_prelogits.npz", image_size=(16, 48)).without_head()
    images = torch.rand(2, 3, 16, 48)
    torch.testing.assert_close(vitrail.load(tmp_path / "run").model.embed(images), given.model(images))


def test_a_model_of_a_run_learns_other_classes_and_keeps_its_own_on_request(tmp_path: Path) -> None:
    first = train(tiny_recipe(model__settings={}), tmp_path / "first")
    kept = started_recipe(tmp_path / "first", model__head="keep", preprocess__size=(8, 8), schedule__steps=1,
                          optimizer__learning_rate=1e-12)
    second = train(kept, tmp_path / "second")
    assert dict(second[0].rows)["weights"].endswith("its head is kept")
    assert last(second).evaluation.top1 == last(first).evaluation.top1 > 0.1


def test_the_same_in_python(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="A Recipe says itself which weights"):
        vitrail.train(tiny_recipe(), tmp_path / "run", weights="x")
    with pytest.raises(BundleError, match="no Bundle at nowhere"):
        vitrail.train("digits", tmp_path / "run", weights="nowhere")


# What learns, and what is kept of it.

LEARNING: dict[str, dict[str, Any]] = {
    "average": {"training__average": 0.9},
    "frozen": {"training__freeze": ["patchify", "encoder.positions", "encoder.blocks.0.attention"]},
    "adapters": {"training__adapters__rank": 2, "training__adapters__scale": 2.0},
    "everything": {"training__average": 0.8, "training__recompute": True, "optimizer__layer_decay": 0.7,
                   "training__freeze": ["*.norm1"], "augmentation__mixup": 0.2},
}


@pytest.mark.fault("R5", "The same holds with averages, frozen parts and adapters.")
@pytest.mark.parametrize("precision", ["fp32", "bf16"])
@pytest.mark.parametrize("changes", LEARNING.values(), ids=LEARNING)
def test_runs_that_learn_in_part_or_on_average_go_on_to_the_bit(tmp_path: Path, changes: dict[str, Any],
                                                               precision: str) -> None:
    recipe = tiny_recipe(training__precision=precision, **changes)
    whole = last(train(recipe, tmp_path / "whole"))
    for stop in (2, 5):
        train(recipe, tmp_path / "cut", stop_after=stop, resume=stop > 2)
    cut = last(train(recipe, tmp_path / "cut", resume=True))
    assert same(weights_of(tmp_path / "whole"), weights_of(tmp_path / "cut"))
    assert cut.evaluation.loss == whole.evaluation.loss


def test_the_bundle_holds_the_average_and_validation_looks_at_it(tmp_path: Path) -> None:
    """With almost nothing kept of the past the average is the last weights; with more it is not."""
    plain = last(train(tiny_recipe(), tmp_path / "plain"))
    quick = last(train(tiny_recipe(training__average=1e-6), tmp_path / "quick"))
    events = train(tiny_recipe(training__average=0.9, evaluation__every_epochs=0.1), tmp_path / "slow")
    for one, other in zip(plain.bundle.model.parameters(), quick.bundle.model.parameters(), strict=True):
        torch.testing.assert_close(one, other, atol=1e-6, rtol=1e-4)
    slow = last(events)
    assert not same(weights_of(tmp_path / "plain"), weights_of(tmp_path / "slow"))
    looks = [event.evaluation.loss for event in events if isinstance(event, Evaluated) and event.split == "val"]
    assert looks[-1] == vitrail.evaluate(slow.bundle, "digits", split="val").loss


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_frozen_parts_are_as_they_were_and_corrected_ones_are_merged(tmp_path: Path, precision: str) -> None:
    start = last(train(tiny_recipe(), tmp_path / "start")).bundle.model.state_dict()
    parts = {"training__freeze": ["*", "!head"]}, {"training__adapters__rank": 2}
    for number, (changes, moving) in enumerate(zip(parts, (("head",), ("head", "attention")), strict=True)):
        recipe = started_recipe(tmp_path / "start", preprocess__size=(8, 8), training__precision=precision, **changes)
        events = train(recipe, tmp_path / f"run-{number}")
        after = last(events).bundle.model.state_dict()
        moved = {name for name, value in after.items() if not torch.equal(value, start[name])}
        assert moved
        assert all(any(part in name for part in moving) for name in moved)
        assert "parameters learn" in dict(events[0].rows)["optimizer"]
    assert any("attention.qkv.weight" in name for name in moved)


@pytest.mark.parametrize(("changes", "words"), [
    ({"training__freeze": ["encodr"]}, "encoder"), ({"training__freeze": ["*"]}, "left to train"),
    ({"training__adapters__rank": 2, "training__adapters__layers": ["qvk"]}, "linear layer"),
    ({"training__recompute": True, "model__name": "R26x0.25", "model__settings": {}}, "blocks of a transformer"),
])
def test_what_cannot_learn_so_is_refused(tmp_path: Path, changes: dict[str, Any], words: str) -> None:
    with pytest.raises(UsageError, match=words):
        train(tiny_recipe(**{"preprocess__size": (16, 16), **changes}), tmp_path / "run")


def test_adapters_and_freezing_exclude_one_another() -> None:
    with pytest.raises(UsageError, match="adapters freeze all but"):
        tiny_recipe(training__freeze=["head"], training__adapters__rank=2)
