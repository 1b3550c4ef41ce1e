"""Checkpoints that were changed, cut, lost or exchanged behind a run's back, one file and one way at a time."""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from tiny import last, tiny_recipe, train

import vitrail
from vitrail import cli
from vitrail.bundle import Bundle
from vitrail.errors import BundleError, RunError, UsageError
from vitrail.events import Understood
from vitrail.files import sha256, staged_folder
from vitrail.training.checkpoint import newest_checkpoint, read_state, verify_checkpoint

FILES = ("average.safetensors", "manifest.json", "optimizer.safetensors", "state.json", "weights.safetensors")
OLDER, NEWER = "step-00000004", "step-00000008"


def recipe_with(**changes: Any) -> vitrail.Recipe:
    return tiny_recipe(**{"schedule__steps": 10, "training__average": 0.9, **changes})


@pytest.fixture(scope="module")
def stopped(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that was stopped after its steps 4 and 8."""
    folder = tmp_path_factory.mktemp("stopped") / "run"
    train(recipe_with(), folder, stop_after=4)
    train(recipe_with(), folder, stop_after=8, resume=True)
    return folder


@pytest.fixture
def run(stopped: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(stopped, tmp_path / "run"))


def ways(data: bytes, flips: int = 50) -> Iterator[tuple[str, bytes | None]]:
    """Everything that may become of a file: a changed byte, a cut, another file, none."""
    random = np.random.default_rng(len(data))
    for offset in random.integers(0, len(data), flips).tolist():
        changed = bytearray(data)
        changed[offset] ^= int(random.integers(1, 256))
        yield f"byte {offset}", bytes(changed)
    for length in (0, 1, len(data) // 2, len(data) - 1):
        yield f"cut to {length}", data[:length]
    yield "longer", data + b"\0"
    yield "foreign", b"PK\x03\x04 something else"
    yield "deleted", None


@pytest.mark.fault("R2", "A checkpoint with any file changed at any of 50 random bytes, cut, exchanged or deleted is "
                   "set aside as .corrupt, with the reason, and the one before is taken.")
@pytest.mark.parametrize("name", FILES)
def test_any_damage_to_any_file_falls_back_to_the_older_checkpoint(run: Path, name: str) -> None:
    checkpoints = run / "checkpoints"
    file, whole = checkpoints / NEWER / name, (checkpoints / NEWER / name).read_bytes()
    for way, damaged in ways(whole):
        if harmless(name, whole, damaged):
            continue
        if damaged is None:
            file.unlink()
        else:
            file.write_bytes(damaged)
        found, troubles = newest_checkpoint(checkpoints)
        assert found == checkpoints / OLDER, way
        assert len(troubles) == 1
        assert name in troubles[0] or name == "manifest.json"
        assert "Falling back to the checkpoint before it." in troubles[0]
        aside = checkpoints / f"{NEWER}.corrupt"
        assert (aside / name).exists() == (damaged is not None)
        assert damaged is None or (aside / name).read_bytes() == damaged
        aside.rename(checkpoints / NEWER)
        file.write_bytes(whole)
    assert newest_checkpoint(checkpoints) == (checkpoints / NEWER, [])


def harmless(name: str, whole: bytes, damaged: bytes | None) -> bool:
    """Other white space in a manifest says the same."""
    try:
        return name == "manifest.json" and json.loads(damaged or b"") == json.loads(whole)
    except ValueError:
        return False


@pytest.mark.fault("R2", "A foreign file among the tensors, and a manifest that lists too little, are damage, too.")
def test_strangers_in_a_checkpoint_are_refused(run: Path) -> None:
    newer = run / "checkpoints" / NEWER
    for name in ("shard-00001-model-00001-of-00001.safetensors", "other.safetensors"):
        shutil.copy(newer / "weights.safetensors", newer / name)
        with pytest.raises(BundleError, match=f"{name} is not in the manifest|does not list"):
            verify_checkpoint(newer)
        (newer / name).unlink()
    (newer / ".DS_Store").write_bytes(b"x")  # what a file browser leaves does no harm
    verify_checkpoint(newer)
    for missing in ("state.json", "weights.safetensors", "optimizer.safetensors"):
        manifest = json.loads((newer / "manifest.json").read_text())
        kept = {name: entry for name, entry in manifest["files"].items() if name != missing}
        copy = shutil.copytree(newer, run / f"without {missing}")
        (copy / "manifest.json").write_text(json.dumps({"files": kept}))
        with pytest.raises(BundleError, match=f"does not list {missing}"):
            verify_checkpoint(copy)


@pytest.mark.fault("R2", "Where every checkpoint is damaged, the run says so and begins anew.")
def test_without_any_whole_checkpoint_the_run_begins_anew(run: Path) -> None:
    shutil.rmtree(run / "bundle")
    for name in (OLDER, NEWER):
        (run / "checkpoints" / name / "weights.safetensors").write_bytes(b"")
    events = train(recipe_with(), run, resume=True)
    understood = events[0]
    assert isinstance(understood, Understood)
    assert "Falling back to the checkpoint before it" in understood.warnings[0]
    assert "No checkpoint before it is left" in understood.warnings[1]
    assert "there is no checkpoint yet, so the run begins anew" in understood.warnings[2]
    assert last(events).steps == 10
    assert {path.name for path in (run / "checkpoints").glob("*.corrupt")} == {f"{OLDER}.corrupt", f"{NEWER}.corrupt"}


@pytest.mark.fault("R2", "Where no checkpoint is left but a Bundle, nothing begins anew that would take its place.")
def test_a_bundle_without_checkpoints_is_not_lost(run: Path) -> None:
    shutil.rmtree(run / "checkpoints")
    before = {path.name: path.read_bytes() for path in (run / "bundle").iterdir()}
    with pytest.raises(RunError, match=r"has no checkpoint to go on from, but a model, which stays as it is"):
        train(recipe_with(), run, resume=True)
    assert {path.name: path.read_bytes() for path in (run / "bundle").iterdir()} == before
    shutil.rmtree(run / "bundle")
    with pytest.raises(RunError, match="Leave out --strict to begin the run anew"):
        train(recipe_with(), run, resume=True, strict=True)


@pytest.mark.fault("R4", "A run that was stopped before its first step has a Bundle and no checkpoint: it begins anew.")
def test_a_run_stopped_before_its_first_step_goes_on(tmp_path: Path) -> None:
    whole = last(train(recipe_with(), tmp_path / "whole"))
    stopped = last(train(recipe_with(), tmp_path / "run", stop_after=0))
    assert (stopped.steps, Bundle.load(tmp_path / "run").provenance["step"]) == (0, 0)
    assert not list((tmp_path / "run").glob("checkpoints/step-*"))
    again = train(recipe_with(), tmp_path / "run", resume=True)
    assert "there is no checkpoint yet, so the run begins anew" in again[0].warnings[0]  # type: ignore[union-attr]
    assert last(again).steps == whole.steps
    weights = [load_file(tmp_path / name / "bundle" / "model.safetensors") for name in ("whole", "run")]
    assert all(torch.equal(value, weights[1][name]) for name, value in weights[0].items())


def flip(file: Path) -> None:
    data = bytearray(file.read_bytes())
    data[len(data) // 2] ^= 1
    file.write_bytes(data)


@pytest.fixture
def command(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Callable[..., tuple[int, str, str]]:
    """`vitrail ARGUMENTS` in this process: its exit code, stdout and stderr."""
    def call(*arguments: object) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["vitrail", *map(str, arguments)])
        with pytest.raises(SystemExit) as end:
            cli.main()
        captured = capsys.readouterr()
        return int(end.value.code or 0), captured.out, captured.err

    return call


@pytest.mark.fault("R2", "With --strict a damaged newest checkpoint ends in one message, and is left as it is; without "
                   "it the exit code is 0.")
def test_strict_refuses_to_go_back(run: Path, command: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("vitrail.run.ending.write_report", lambda *_, **__: None)
    flip(run / "checkpoints" / NEWER / "weights.safetensors")
    code, _, err = command("train", "--resume", "--out", run, "--strict")
    assert code == 1
    assert "weights.safetensors has changed since it was written" in err
    assert "--strict does not go back to an older checkpoint" in err
    assert (run / "checkpoints" / NEWER).is_dir()
    code, _, err = command("train", "--resume", "--out", run)
    assert code == 0
    assert "going on after step 4" in err
    code, _, err = command("train", "digits", "--strict")
    assert (code, "--strict belongs to --resume" in err) == (2, True)


@pytest.mark.fault("R2", "`vitrail verify RUN` lists every damaged checkpoint and Bundle of a run, with the file.")
def test_verify_reads_a_whole_run(run: Path, command: Any) -> None:
    code, out, _ = command("verify", run)
    assert code == 0
    assert [line.split(":")[0].removeprefix(f"{run}/") for line in out.splitlines()] == [
        f"checkpoints/{OLDER}", f"checkpoints/{NEWER}", "bundle"]
    flip(run / "checkpoints" / OLDER / "optimizer.safetensors")
    flip(run / "bundle" / "model.safetensors")
    code, out, err = command("verify", run)
    assert code == 1
    assert len(out.splitlines()) == 1
    assert "2 of the 3 checkpoints and Bundles" in err
    assert f"{OLDER}/optimizer.safetensors has changed" in err
    assert "bundle/model.safetensors has changed" in err
    assert "Traceback" not in err


def test_verify_takes_one_thing_too(run: Path, command: Any, tmp_path: Path) -> None:
    alone = Path(shutil.copy(run / "bundle" / "model.safetensors", tmp_path / "model.safetensors"))
    for path in (run / "bundle", run / "bundle" / "model.safetensors", run / "checkpoints" / NEWER, alone):
        assert command("verify", path)[0] == 0
    flip(alone)
    code, _, err = command("verify", alone)
    assert (code, "model.safetensors" in err) == (1, True)
    (run / "checkpoints" / NEWER / "state.json").unlink()
    code, _, err = command("verify", run / "checkpoints" / NEWER)
    assert (code, "state.json is missing" in err) == (1, True)
    code, _, err = command("verify", tmp_path / "nothing")
    assert (code, "There is no Bundle at" in err) == (1, True)
    (tmp_path / "empty" / "checkpoints").mkdir(parents=True)
    code, _, err = command("verify", tmp_path / "empty")
    assert (code, "nothing to verify yet" in err) == (1, True)


# A whole checkpoint, but not of this run.


@pytest.mark.fault("R8", "Another recipe than that of the checkpoint is refused, with each setting that differs, what "
                   "it is and what it was.")
@pytest.mark.parametrize(("changes", "words"), [
    ({"optimizer__learning_rate": 1.0}, "optimizer.learning_rate is 1.0, was 0.003"),
    ({"preprocess__size": (16, 16)}, "preprocess.size is [16, 16], was [8, 8]"),
    ({"model__name": "mu/2"}, "model.name is mu/2, was mu/4"),
    ({"model__settings": {"dropout": 0.1, "depth": 3}}, "model.settings.depth is 3, was None"),
])
def test_another_recipe_is_refused_with_what_differs(run: Path, changes: dict[str, Any], words: str) -> None:
    before = {path: sha256(path) for path in run.rglob("*") if path.is_file() and path.name != ".lock"}
    with pytest.raises(RunError, match=r"another recipe: .*Resume with the recipe of that run") as caught:
        train(recipe_with(**changes), run, resume=True)
    assert words in str(caught.value)
    assert before == {path: sha256(path) for path in run.rglob("*") if path.is_file() and path.name != ".lock"}


@pytest.mark.fault("R8", "A checkpoint that was put into the folder of another run is refused, with the tensors and "
                   "their shapes (depth, patch size) that differ.")
@pytest.mark.parametrize(("changes", "words"), [
    ({"model__settings": {"dropout": 0.1, "depth": 3}}, r"it has no model\.encoder\.blocks\.1\..* and \d+ more"),
    ({"model__name": "mu/2"}, r"is \(32, 3, 4, 4\) there and \(32, 3, 2, 2\) here"),
    ({"optimizer__learning_rate": 1.0}, r"had another recipe than this one\. Bring"),
])
def test_a_checkpoint_of_another_run_is_refused_with_what_differs(
        run: Path, tmp_path: Path, changes: dict[str, Any], words: str) -> None:
    other = tmp_path / "other"
    train(recipe_with(**changes), other, stop_after=2)
    shutil.rmtree(other / "checkpoints")
    shutil.copytree(run / "checkpoints", other / "checkpoints")
    with pytest.raises(RunError, match=rf"belongs to another run.*{words}"):
        train(recipe_with(**changes), other, resume=True)


def test_a_refused_run_tells_what_was_set_aside(run: Path, command: Any) -> None:
    flip(run / "checkpoints" / NEWER / "weights.safetensors")
    code, _, err = command("train", "--resume", "--out", run, "--set", "optimizer.learning_rate=0.5")
    assert code == 1
    assert "note: " in err
    assert "weights.safetensors has changed since it was written" in err
    assert "error: " in err
    assert "optimizer.learning_rate is 0.5, was 0.003" in err


def rewritten(checkpoint: Path, change: Callable[[Path], None]) -> None:
    """The same checkpoint with something else in it and true checksums."""
    shutil.move(checkpoint, checkpoint.with_name("was"))
    with staged_folder(checkpoint) as staged:
        for file in checkpoint.with_name("was").iterdir():
            if file.name != "manifest.json":
                shutil.copy(file, staged)
        change(staged)
    shutil.rmtree(checkpoint.with_name("was"))


@pytest.mark.fault("R8", "A checkpoint of another format version is refused, with both versions.")
def test_another_format_is_refused(run: Path) -> None:
    def newer_format(folder: Path) -> None:
        state = json.loads((folder / "state.json").read_text()) | {"format_version": 2}
        (folder / "state.json").write_text(json.dumps(state))

    rewritten(run / "checkpoints" / NEWER, newer_format)
    with pytest.raises(BundleError, match=r"step-00000008 has format 2; this version of vitrail reads format 1\."):
        train(recipe_with(), run, resume=True)

    def no_number(folder: Path) -> None:
        (folder / "state.json").write_text('{"step": "many"}')

    rewritten(run / "checkpoints" / NEWER, no_number)
    with pytest.raises(BundleError, match=r"state\.json is not understood by this version: step: Input should be"):
        read_state(run / "checkpoints" / NEWER)


HEAD = "model.head.weight"


@pytest.mark.fault("R8", "Tensors that the model has not, lacks, or has in another shape are refused by name, also "
                   "among the optimizer's and the average's.")
@pytest.mark.parametrize(("file", "change", "words"), [
    ("weights", lambda tensors: tensors.update(extra=tensors[HEAD].clone()), "the model has no extra"),
    ("weights", lambda tensors: tensors.pop(HEAD), f"it has no {HEAD}"),
    ("weights", lambda tensors: tensors.update({HEAD: tensors[HEAD][:, :5].contiguous()}),
     rf"{HEAD} is \(10, 5\) there and \(10, 32\) here"),
    ("optimizer", lambda tensors: tensors.update({"exp_avg/extra": tensors[f"exp_avg/{HEAD}"].clone()}),
     "its moments: the model has no exp_avg/extra"),
    ("optimizer", lambda tensors: tensors.update({f"exp_avg/{HEAD}": tensors[f"exp_avg/{HEAD}"][:3].contiguous()}),
     rf"its moments: exp_avg/{HEAD} is \(3, 32\) there"),
    ("average", lambda tensors: tensors.pop(HEAD), f"its moving average: it has no {HEAD}"),
])
def test_tensors_that_do_not_fit_are_named(run: Path, file: str, change: Callable[[Any], Any], words: str) -> None:
    def changed(folder: Path) -> None:
        tensors = load_file(folder / f"{file}.safetensors")
        change(tensors)
        save_file(tensors, folder / f"{file}.safetensors")

    rewritten(run / "checkpoints" / NEWER, changed)
    with pytest.raises(BundleError, match=f"does not fit this model: {words}"):
        train(recipe_with(), run, resume=True)


def test_a_run_that_was_killed_before_its_splits_were_written_writes_them(run: Path) -> None:
    before = (run / "manifest.csv").read_bytes()
    (run / "manifest.csv").unlink()
    train(recipe_with(), run, resume=True)
    assert (run / "manifest.csv").read_bytes() == before


def test_a_recipe_without_a_change_has_none() -> None:
    assert recipe_with().changed_from(recipe_with()) == []
    with pytest.raises(UsageError):
        recipe_with(model__name="mu/3")
