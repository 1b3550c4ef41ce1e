"""Runs that learn from a teacher: what it may be, that it stays outside, and that they go on to the bit."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from tiny import last, tiny_recipe, train

import vitrail
from vitrail.bundle import Bundle
from vitrail.data.preprocess import Preprocess
from vitrail.errors import BundleError, RunError, UsageError
from vitrail.events import Stepped, Understood
from vitrail.models.another_head import with_classes_in_order
from vitrail.recipe import Recipe
from vitrail.recipes.finetune import taught_by

DIGITS = tuple("0123456789")


@pytest.fixture(scope="module")
def teacher(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that knows a little, at another size than the students."""
    folder = tmp_path_factory.mktemp("teacher") / "run"
    train(tiny_recipe(preprocess__size=(12, 12), preprocess__mean=(0.4, 0.4, 0.4), schedule__steps=60), folder)
    return folder


def student(teacher: Path, **changes: Any) -> Recipe:
    return tiny_recipe(**changes, **taught_by(str(teacher)))


def losses(events: list[Any], part: str = "loss") -> list[float]:
    return [event.step.parts[part] for event in events if isinstance(event, Stepped)]


def test_a_teacher_is_named_and_stays_outside(teacher: Path, tmp_path: Path) -> None:
    events = train(student(teacher), tmp_path / "run")
    assert isinstance(events[0], Understood)
    words = dict(events[0].rows)["teacher"]
    assert words.startswith(f"{teacher} (mu/4, ")
    assert words.endswith("its best answer is a second label, for 0.5 of the loss; it sees the same pictures, resized "
                          "to 12x12 pixels")
    bundle = vitrail.load(tmp_path / "run")
    assert bundle.provenance["teacher"] == words
    train(tiny_recipe(), tmp_path / "plain")
    plain, taught = (load_file(tmp_path / name / "bundle" / "model.safetensors") for name in ("plain", "run"))
    assert {name: value.shape for name, value in taught.items()} == {name: value.shape for name, value in plain.items()}
    kept = load_file(tmp_path / "run" / "checkpoints" / "step-00000010" / "weights.safetensors")
    assert len(kept) == len(load_file(tmp_path / "plain" / "checkpoints" / "step-00000010" / "weights.safetensors"))
    row = next(row for row in map(str, (tmp_path / "run" / "metrics.jsonl").read_text().splitlines())
               if "train/loss" in row)
    assert all(f"train/{part}" in row for part in ("label_loss", "teacher_loss", "agreement", "top1"))


def test_classes_are_matched_by_name(teacher: Path, tmp_path: Path) -> None:
    """The same teacher with its answers in another order teaches the same."""
    bundle = vitrail.load(teacher)
    order = [3, 1, 4, 0, 5, 9, 2, 6, 8, 7]
    Bundle(with_classes_in_order(bundle.model, order), bundle.preprocess,
           tuple(DIGITS[index] for index in order)).save(tmp_path / "turned")
    one = losses(train(student(teacher, schedule__steps=3), tmp_path / "one"), "teacher_loss")
    other = losses(train(student(tmp_path / "turned", schedule__steps=3), tmp_path / "other"), "teacher_loss")
    assert one == pytest.approx(other, rel=1e-6)


@pytest.mark.fault("R5", "The same holds of a run that is taught by another model.")
@pytest.mark.parametrize("changes", [
    {}, {"objective__distillation": "soft", "objective__temperature": 2.0, "training__precision": "bf16",
         "training__micro_batches": 3, "augmentation__mixup": 0.4, "training__average": 0.9}])
def test_a_taught_run_goes_on_to_the_bit(teacher: Path, tmp_path: Path, changes: dict[str, Any]) -> None:
    recipe = student(teacher, **changes)
    whole = train(recipe, tmp_path / "whole")
    train(recipe, tmp_path / "cut", stop_after=3)
    moved = shutil.copytree(teacher / "bundle", tmp_path / "moved")
    events = train(recipe.replaced({"objective.teacher.path": str(moved)}), tmp_path / "cut", resume=True)
    one, other = (load_file(tmp_path / name / "bundle" / "model.safetensors") for name in ("whole", "cut"))
    assert all(torch.equal(one[name], other[name]) for name in one)
    assert losses(whole)[3:] == losses(events)


@pytest.mark.fault("R8", "A run does not go on with another teacher than it had.")
def test_another_file_in_the_teachers_place_is_refused(teacher: Path, tmp_path: Path) -> None:
    place = shutil.copytree(teacher / "bundle", tmp_path / "teacher")
    recipe = student(place)
    train(recipe, tmp_path / "run", stop_after=2)
    shutil.rmtree(place)
    vitrail.load(teacher).with_classes(DIGITS).save(place)
    with pytest.raises(RunError, match=r"its SHA-256 is another. .*--set objective.teacher.path=FILE"):
        train(recipe, tmp_path / "run", resume=True)
    with pytest.raises(RunError, match="another recipe"):
        train(student(place), tmp_path / "run", resume=True)
    shutil.rmtree(place)
    with pytest.raises(BundleError, match="no Bundle at"):
        train(recipe, tmp_path / "run", resume=True)


@pytest.mark.parametrize(("classes", "activation", "changes", "words"), [
    ((*DIGITS[:9], "ten"), "softmax", {}, "only in the teacher: ten; only in the images: 9"),
    (DIGITS[:9], "softmax", {}, "only in the images: 9"),
    (None, "softmax", {}, "does not say which classes its 10 answers are"),
    (DIGITS, "sigmoid", {"objective__distillation": "soft"}, "with a sigmoid, but this run trains with a softmax"),
])
def test_teachers_that_cannot_teach(tmp_path: Path, classes: Any, activation: Any, changes: dict[str, Any],
                                    words: str) -> None:
    model = vitrail.create("mu/4", classes=len(classes or DIGITS), image_size=8)
    torch.nn.init.normal_(model.head.weight)
    Bundle(model, Preprocess(size=8), classes, activation).save(tmp_path / "teacher")
    with pytest.raises((BundleError, UsageError), match=words):
        train(student(tmp_path / "teacher", **changes), tmp_path / "run")


def test_one_that_has_learned_nothing_and_one_without_a_head_cannot(teacher: Path, tmp_path: Path) -> None:
    bundle = vitrail.load(teacher)
    bundle.with_classes(DIGITS).save(tmp_path / "new")
    bundle.without_head().save(tmp_path / "headless")
    for name, words in (("new", "its head is new, all zeros"), ("headless", "has no head")):
        with pytest.raises(BundleError, match=f"The teacher cannot teach: .*{words}"):
            train(student(tmp_path / name), tmp_path / "run")


def several_labels(folder: Path) -> Path:
    from PIL import Image

    lines = ["path,label"]
    for number in range(24):
        label = ("a", "b", "a|b")[number % 3]
        Image.new("RGB", (8, 8), (255 * ("a" in label), 255 * ("b" in label), 0)).save(folder / f"{number}.png")
        lines.append(f"{number}.png,{label}")
    (folder / "labels.csv").write_text("\n".join(lines))
    return folder / "labels.csv"


def test_several_labels_an_image_are_taught_softly_or_not_at_all(tmp_path: Path) -> None:
    images = several_labels(tmp_path)
    recipe = tiny_recipe(data__source=str(images), training__batch_size=8, schedule__steps=4)
    train(recipe, tmp_path / "teacher")
    taught = recipe.replaced(taught_by(str(tmp_path / "teacher")))
    with pytest.raises(UsageError, match="several labels an image, and a hard teacher names one"):
        train(taught, tmp_path / "hard")
    events = train(taught.replaced({"objective.distillation": "soft"}), tmp_path / "soft")
    assert last(events).steps == 4
    assert all(np.isfinite(losses(events, "teacher_loss")))


@pytest.mark.parametrize("setting", [{"distillation": "soft"}, {"teacher_share": 0.1}, {"temperature": 1.0}], ids=str)
def test_settings_of_a_teacher_that_is_not_there(setting: dict[str, Any]) -> None:
    name, value = next(iter(setting.items()))
    with pytest.raises(UsageError, match=f"objective.{name} needs a teacher: --teacher BUNDLE"):
        tiny_recipe(**{f"objective__{name}": value})


def test_a_recipe_without_a_teacher_is_the_run_that_it_was() -> None:
    """So older runs go on."""
    value = tiny_recipe().model_dump(mode="json")
    for name in ("teacher", "distillation", "teacher_share", "temperature"):
        del value["objective"][name]
    assert Recipe.model_validate(value).identity() == tiny_recipe().identity()


def test_in_python(teacher: Path, tmp_path: Path) -> None:
    with pytest.raises(BundleError, match="no Bundle at nowhere"):
        vitrail.train("digits", tmp_path / "run", teacher="nowhere")
    with pytest.raises(UsageError, match="A Recipe says itself which teacher it learns from"):
        vitrail.train(tiny_recipe(), tmp_path / "run", teacher=teacher)
