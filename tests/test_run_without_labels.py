"""Runs that learn without labels: to the end, stopped and resumed, measured, shown, and gone on from."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from tiny import last, tiny_recipe, train

import vitrail
from vitrail.bundle import Bundle
from vitrail.errors import DataError, UsageError
from vitrail.events import Measured, Noted, Understood
from vitrail.recipe import Recipe
from vitrail.training.journal import read_journal

TARGETS = ("mean-color", "downsized", "pixels")


SMALL = {"decoder": {"width": 16, "depth": 2, "heads": 2}}
MAE: dict[str, Any] = {"objective__name": "mae", "objective__mae": SMALL}
DINO: dict[str, Any] = {
    "objective__name": "dino", "augmentation__crop": "none", "augmentation__multi_crop__local": 2,
    "augmentation__multi_crop__local_size": 4, "objective__dino": {"prototypes": 32, "hidden": 32, "bottleneck": 16,
                                                                   "hold_prototypes": 0.25}}
WHOLE_DINO = {**DINO, "objective__dino": {**DINO["objective__dino"], "koleo": {"weight": 0.1},
                                          "ibot": {"weight": 1.0, "head": "own"}}}
OBJECTIVES: dict[str, dict[str, Any]] = {"masked-patch": {}, "mae": MAE, "dino": DINO, "all of dino": WHOLE_DINO}
each_objective = pytest.mark.parametrize("objective", OBJECTIVES.values(), ids=OBJECTIVES)


def recipe(target: str | None = None, **changes: Any) -> Recipe:
    aimed = {} if target is None else {"objective__masked_patch__target": target}
    return tiny_recipe(**{"objective__name": "masked-patch", **aimed, **changes})


def rows(run: Path, key: str) -> list[float]:
    return [row[key] for row in read_journal(run / "metrics.jsonl") if key in row]


def flat_folder(folder: Path, count: int = 30) -> Path:
    folder.mkdir()
    random = np.random.default_rng(0)
    for number in range(count):
        Image.fromarray(random.integers(0, 256, (8, 8, 3), dtype=np.uint8)).save(folder / f"{number}.png")
    return folder


ASKED = [{"objective__masked_patch__target": target} for target in TARGETS] + [
    MAE, {**MAE, "objective__mae": {**SMALL, "normalized": False}}, DINO, WHOLE_DINO]


@pytest.mark.parametrize("objective", ASKED, ids=str)
def test_a_run_ends_in_a_bundle_without_a_head(objective: dict[str, Any], tmp_path: Path) -> None:
    events = train(recipe(**objective), tmp_path / "run")
    finished = last(events)
    assert finished.evaluation is None
    assert finished.measured is not None
    assert (finished.measured.split, finished.measured.images) == ("test", 359)
    assert finished.measured.beside.startswith("; the same answer everywhere would have ") or "dino" in str(objective)
    nothing = [event.text for event in events if isinstance(event, Noted) and "learned nothing" in event.text]
    if "dino" not in str(objective):
        constant = float(finished.measured.beside.rsplit(" ", 1)[1])
        assert bool(nothing) == (finished.measured.loss > 0.99 * constant)
    assert isinstance(events[0], Understood)
    said = {"mae": "masked;", "dino": "teacher"}.get(str(objective.get("objective__name")), "corrupted")
    assert said in dict(events[0].rows)["learning"]
    assert "classes" not in dict(events[0].rows)
    bundle = Bundle.load(tmp_path / "run")
    assert (bundle.classes, bundle.activation, bundle.model.config.classes) == (None, "none", 0)
    assert not any(part in name for name in bundle.model.state_dict()
                   for part in ("mask", "prediction", "decoder", "teacher", "heads"))
    assert rows(tmp_path / "run", "test/loss") == [finished.measured.loss]
    if "dino" not in str(objective):  # whose targets change meanwhile
        assert rows(tmp_path / "run", "train/loss")[-1] < rows(tmp_path / "run", "train/loss")[0]


@each_objective
@pytest.mark.parametrize("changes", [{}, {"training__average": 0.9}, {"training__precision": "bf16"}],
                         ids=["plain", "average", "bf16"])
def test_a_run_that_was_stopped_ends_bit_equal(changes: dict[str, Any], objective: dict[str, Any],
                                               tmp_path: Path) -> None:
    if "dino" in str(objective) and "training__average" in changes:
        changes = {"training__micro_batches": 2}  # it has an average of its own
    changes = changes | objective | {"evaluation__every_epochs": 0.2}
    train(recipe(**changes), tmp_path / "whole")
    train(recipe(**changes), tmp_path / "parts", stop_after=3)
    train(recipe(**changes), tmp_path / "parts", resume=True, stop_after=7)
    train(recipe(**changes), tmp_path / "parts", resume=True)
    whole, parts = (Bundle.load(tmp_path / name).model.state_dict() for name in ("whole", "parts"))
    assert all(torch.equal(whole[name], parts[name]) for name in whole)
    for key in ("train/loss", "train/constant_loss", "train/beyond_constant", "val/loss", "test/loss"):
        assert rows(tmp_path / "whole", key) == rows(tmp_path / "parts", key), key
    assert len(rows(tmp_path / "whole", "val/loss")) == 3  # after 4, 8 and 10 steps


STILL = {"center_momentum": 1 - 1e-9, "temperature_warmup": 0}


@pytest.mark.parametrize("objective", [{}, MAE, {**DINO, "objective__dino": {**DINO["objective__dino"], **STILL}},
                                       {**WHOLE_DINO, "objective__dino": {**WHOLE_DINO["objective__dino"], **STILL}}],
                         ids=OBJECTIVES)
def test_looks_draw_the_same_masks_each_time_and_an_average_is_looked_at(objective: dict[str, Any],
                                                                         tmp_path: Path) -> None:
    """With a rate of (nearly) zero every look has to find the same."""
    still: dict[str, Any] = {"optimizer__learning_rate": 1e-30, "evaluation__every_epochs": 0.05,
                             "model__settings": {}, **objective}
    train(recipe(**still), tmp_path / "run")
    found = rows(tmp_path / "run", "val/loss")
    assert len(found) == 10
    assert found == pytest.approx([found[0]] * 10, rel=1e-6)
    if "dino" in str(objective):
        return
    train(recipe(training__average=0.5, **still), tmp_path / "averaged")
    assert rows(tmp_path / "averaged", "val/loss") == pytest.approx(found, rel=1e-5)


def test_the_best_by_its_own_loss_is_kept(tmp_path: Path) -> None:
    events = train(recipe(evaluation__keep="best", evaluation__every_epochs=0.2, optimizer__learning_rate=0.03,
                          schedule__warmup=0), tmp_path / "run")
    looks = {event.step: event.loss for event in events if isinstance(event, Measured) and event.split == "val"}
    best = min(looks, key=lambda step: looks[step])
    assert any(f"keeping the best weights by validation: step {best:,}" in event.text for event in events
               if isinstance(event, Noted))


@each_objective
def test_a_folder_without_labels_is_learned_from_and_refused_where_labels_are_needed(objective: dict[str, Any],
                                                                                     tmp_path: Path) -> None:
    photos = flat_folder(tmp_path / "photos")
    free = recipe(data__source=str(photos), data__labeled=False, training__batch_size=8, schedule__steps=2, **objective)
    finished = last(train(free, tmp_path / "run", report=True))
    assert finished.measured is not None
    page = (tmp_path / "run" / "report.html").read_text()
    sees = "dino" in str(objective)
    assert f"What it {'sees' if sees else 'guesses'}" in page
    beside = "" if sees else "; the same answer everywhere would have"
    assert f"The loss is {finished.measured.loss:.4g} on 3 test images{beside}" in page
    assert "<dt>Classes</dt>" not in page
    with pytest.raises(UsageError, match="classify learns labels"):
        free.replaced({"objective": {"name": "classify"}})
    with pytest.raises(DataError, match=r"no class folders.*\n[\s\S]*vitrail pretrain"):
        train(tiny_recipe(data__source=str(photos)), tmp_path / "labels")


@each_objective
def test_what_was_learned_is_gone_on_from_with_and_without_labels(objective: dict[str, Any], tmp_path: Path) -> None:
    from vitrail.recipes.finetune import weights_settings

    train(recipe(schedule__steps=2, **objective), tmp_path / "first")
    settings = weights_settings(str(tmp_path / "first"), (8, 8)).model_dump(mode="json")
    for name, chosen in (("again", objective), ("labels", {"objective__name": "classify"})):
        changed = recipe(schedule__steps=1, optimizer__learning_rate=1e-30, model__weights=settings, **chosen)
        train(changed, tmp_path / name)
        before, after = (Bundle.load(tmp_path / run).model.state_dict() for run in ("first", name))
        assert all(torch.allclose(before[key], after[key], atol=1e-6) for key in before)
        assert ("head.weight" in after) == (name == "labels")
    compared = vitrail.compare(tmp_path / "first", tmp_path / "again")
    assert [run.finished for run in compared.runs] == [True, True]


def test_pooling_that_does_not_learn_is_the_same_after_a_stop(tmp_path: Path) -> None:
    """It is in no checkpoint, so it has to come from the weights again."""
    from vitrail.recipes.finetune import weights_settings

    shape = {"model__settings": {"pooling": "attention"}}
    train(tiny_recipe(schedule__steps=2, **shape), tmp_path / "first")
    settings = weights_settings(str(tmp_path / "first"), (8, 8)).model_dump(mode="json")
    train(recipe(model__weights=settings, **shape), tmp_path / "run", stop_after=3)
    train(recipe(model__weights=settings, **shape), tmp_path / "run", resume=True)
    before, after = (Bundle.load(tmp_path / run).model.state_dict() for run in ("first", "run"))
    assert torch.equal(before["pool.probe"], after["pool.probe"])


@pytest.mark.parametrize(("changes", "words"), [
    ({"objective__label_smoothing": 0.1}, "objective.label_smoothing does not belong to objective.name=masked-patch"),
    ({"augmentation__mixup": 0.2}, "no labels to mix"),
    ({"model__head": "keep", "model__weights": {"path": "w", "sha256": "0", "format": "vitrail", "image_size": [8, 8]}},
     "trains no head"),
    ({"target": "colour"}, "mean-color"), ({"objective__masked_patch__corrupted": 1.5}, "less than 1"),
    ({"model__name": "R26x0.25", "preprocess__size": 16}, "cannot guess masked patches"),
    ({"objective__name": "mae", "model__name": "axial-Ti/4"}, "needs every patch of the grid"),
    ({"objective__name": "mae", "model__name": "mu/8"}, "single patch"),
    ({"objective__name": "mae", "objective__mae__masked": 1.0}, "less than 1"),
    ({"objective__name": "mae", "objective__mae__decoder__heads": 7}, "512 wide is not divisible by 7 heads"),
    ({"objective__mae__masked": 0.5}, "objective.mae does not belong to objective.name=masked-patch"),
])
def test_what_does_not_fit_is_refused(changes: dict[str, Any], words: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=words):
        train(recipe(**{"model__settings": {}, **changes}), tmp_path / "run")


def test_settings_of_another_objective_are_refused_and_a_new_one_ends_no_older_run() -> None:
    with pytest.raises(UsageError, match=r"masked_patch does not belong to objective\.name=classify"):
        tiny_recipe(objective__masked_patch__corrupted=0.2)
    assert "masked_patch" not in str(tiny_recipe()._shared())
    assert recipe().identity() != recipe("pixels").identity() != tiny_recipe().identity()
