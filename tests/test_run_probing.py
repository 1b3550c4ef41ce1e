"""Frozen features measured while a run goes: the numbers, when they come, and what cannot be measured."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from tiny import last, tiny_recipe, train

import vitrail
from vitrail.bundle import Bundle
from vitrail.data.split import few_shot_rows
from vitrail.errors import DataError, UsageError
from vitrail.evaluation.frozen.features import features
from vitrail.evaluation.frozen.few_shot import ridge
from vitrail.evaluation.frozen.neighbors import by_neighbors
from vitrail.events import FeaturesMeasured, Noted, Understood
from vitrail.recipe import Recipe
from vitrail.run import run
from vitrail.training.guard import Interrupts
from vitrail.training.journal import read_journal
from vitrail.workshop.probing import open_probe


def recipe(**changes: Any) -> Recipe:
    masked = {"objective__name": "masked-patch", "data__labeled": False, "model__settings": {}}
    return tiny_recipe(**masked | {"evaluation__probe_every": 0.2} | changes)


def rows(folder: Path) -> list[dict[str, Any]]:
    return [row for row in read_journal(folder / "metrics.jsonl") if any(key.startswith("probe/") for key in row)]


def photos(folder: Path, classes: dict[str, int]) -> Path:
    for place, (name, count) in enumerate(classes.items()):
        (folder / name).mkdir(parents=True, exist_ok=True)
        for number in range(count):
            pixels = np.random.default_rng([place, number]).integers(0, 60, (8, 8, 3), np.uint8)
            pixels[..., place % 3] += 190
            Image.fromarray(pixels).save(folder / name / f"{number}.png")
    return folder


def test_the_last_numbers_are_those_of_the_bundle_by_the_reference_draws(tmp_path: Path) -> None:
    """Every image of digits' train votes (1,293), and all of val are asked (145)."""
    events = train(recipe(schedule__steps=3), tmp_path / "run")
    probed = last(events).probed
    assert probed is not None
    digits = vitrail.open_source("digits")
    own, held = (features(last(events).bundle, digits, name, cache=tmp_path / "cache") for name in ("train", "val"))
    few = [np.mean(ridge(own.values[chosen], own.labels[chosen], 10).predict(held.values) == held.labels)
           for chosen in (few_shot_rows(digits.splits["train"].labels, 10, seed) for seed in range(3))]
    votes = by_neighbors(own.values, own.labels, 10, held.values, (20,))[20]
    assert probed.scores == pytest.approx({"few_shot_10": np.mean(few), "knn_20": np.mean(votes == held.labels)},
                                          abs=1 / 145)
    assert (probed.split, probed.images, probed.step) == ("val", 145, 3)
    told = Bundle.load(tmp_path / "run").provenance["probe"]
    assert told["scores"] == probed.scores


def test_it_comes_before_the_first_step_every_so_many_epochs_and_at_the_end(tmp_path: Path) -> None:
    events = train(recipe(), tmp_path / "run", report=True)
    assert [row["step"] for row in rows(tmp_path / "run")] == [0, 4, 8, 10]  # 20 steps are an epoch
    assert [event.step for event in events if isinstance(event, FeaturesMeasured)] == [0, 4, 8, 10]
    assert isinstance(events[0], Understood)
    assert "1,438 images each time" in dict(events[0].rows)["probing"]
    page = (tmp_path / "run" / "report.html").read_text()
    assert "accuracy of frozen features over the images seen" in page
    assert "Frozen features: 10-shot" in page


def test_looks_change_nothing_and_find_the_same_weights_the_same(tmp_path: Path) -> None:
    """With a rate of (nearly) zero every look has to find the same; and a run ends as it does without looks."""
    train(recipe(optimizer__learning_rate=1e-30, training__average=0.5), tmp_path / "still")
    found = [row["probe/knn_20"] for row in rows(tmp_path / "still")]
    assert found == pytest.approx([found[0]] * 4, abs=1 / 145)
    with_looks = last(train(recipe(model__settings={"dropout": 0.1}), tmp_path / "looks")).bundle.model.state_dict()
    without = last(train(recipe(model__settings={"dropout": 0.1}, evaluation__probe_every=None),
                         tmp_path / "none")).bundle.model.state_dict()
    assert all((with_looks[name] == without[name]).all() for name in without)


def test_it_is_the_average_that_is_looked_at(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Far too large steps destroy the features; an average that stays keeps them."""
    harsh = {"optimizer__learning_rate": 0.3, "schedule__warmup": 0, "optimizer__clip": None}
    train(recipe(**harsh), tmp_path / "last")
    monkeypatch.setattr("vitrail.training.average.Average.update", lambda *given, **named: None)
    train(recipe(**harsh, training__average=0.9), tmp_path / "average")
    kept, lost = ([row["probe/knn_20"] for row in rows(tmp_path / name)] for name in ("average", "last"))
    assert kept == pytest.approx([kept[0]] * 4, abs=1 / 145)
    assert lost[1] < lost[0] - 0.1


def test_a_run_that_was_stopped_has_the_same_rows(tmp_path: Path) -> None:
    train(recipe(), tmp_path / "whole")
    train(recipe(), tmp_path / "parts", stop_after=6)
    train(recipe(), tmp_path / "parts", resume=True)
    assert rows(tmp_path / "parts") == rows(tmp_path / "whole")


def test_a_signal_in_the_middle_ends_the_run_without_a_number(tmp_path: Path) -> None:
    interrupts = Interrupts()

    def watch(doing: str, _: object) -> None:
        if doing == "features":
            interrupts.signal = 15

    *_, finished = run(recipe(), tmp_path / "run", interrupts=interrupts, watch=watch)
    assert last([finished]).signal == 15
    assert last([finished]).probed is None
    assert rows(tmp_path / "run") == []
    assert (tmp_path / "run" / "bundle").exists()


def test_other_images_are_measured_on_with_labels_too(tmp_path: Path) -> None:
    colors = photos(tmp_path / "colors", {"red": 30, "green": 30, "blue": 30})
    probed = last(train(tiny_recipe(evaluation__probe_every=1, evaluation__probe_on=str(colors)),
                        tmp_path / "run")).probed
    assert probed is not None
    assert probed.source == str(colors)
    assert probed.scores["few_shot_10"] > 0.9


def test_few_images_are_taken_of_many(tmp_path: Path) -> None:
    digits = vitrail.open_source("digits")
    probe = open_probe(recipe(evaluation__probe_images=50, evaluation__probe_shots=[1, 5]), digits)
    assert probe is not None
    assert len(probe.test) == 50
    assert {(trial.method, trial.shots, trial.seed, len(trial.rows)) for trial in probe.trials} == {
        ("few-shot", 1, 0, 10), ("few-shot", 5, 0, 50), ("knn", None, 0, 50)}
    for trial in probe.trials:
        if trial.method == "few-shot":
            chosen = digits.splits["train"].subset(few_shot_rows(digits.splits["train"].labels, trial.shots or 0, 0))
            assert [probe.train.names[row] for row in trial.rows] == chosen.names


def test_a_bad_picture_is_a_wrong_answer_and_all_bad_ones_are_said(tmp_path: Path) -> None:
    colors = photos(tmp_path / "colors", {f"{split}/{color}": 6 for split in ("train", "val", "test")
                                          for color in ("red", "green")})
    asked = tiny_recipe(evaluation__probe_every=1, evaluation__probe_on=str(colors), schedule__steps=1,
                        evaluation__probe_shots=5)
    (colors / "val" / "red" / "0.png").write_bytes(b"no picture")
    probed = last(train(asked, tmp_path / "one")).probed
    assert probed is not None
    assert probed.scores["few_shot_5"] <= 11 / 12
    for path in (colors / "val").rglob("*.png"):
        path.write_bytes(b"no picture")
    events = train(asked, tmp_path / "all")
    assert last(events).probed is None
    assert any("too few of the images" in event.text for event in events if isinstance(event, Noted))


@pytest.mark.parametrize(("classes", "words"), [
    ({".": 9}, "no class folders"), ({"red": 9}, "only class"), ({"red": 1, "green": 1}, "holds nothing out")])
def test_images_that_cannot_be_measured_on(classes: dict[str, int], words: str, tmp_path: Path) -> None:
    folder = photos(tmp_path / "photos", classes)
    with pytest.raises(DataError, match=words):
        train(recipe(evaluation__probe_on=str(folder)), tmp_path / "run")


def test_images_without_labels_need_others_beside_them(tmp_path: Path) -> None:
    own = recipe(data__source=str(photos(tmp_path / "photos", {".": 30})), training__batch_size=8)
    with pytest.raises(DataError, match=r"no labels.*--probe-on SOURCE"):
        train(own, tmp_path / "run")
    assert last(train(own.replaced({"evaluation.probe_on": "digits", "schedule.steps": 1}), tmp_path / "run")).probed
    np.savez(tmp_path / "several.npz", images=np.zeros((9, 8, 8), np.uint8), labels=np.ones((9, 3), np.uint8))
    with pytest.raises(DataError, match="several labels"):
        train(recipe(evaluation__probe_on=str(tmp_path / "several.npz")), tmp_path / "several")


@pytest.mark.parametrize(("changes", "words"), [
    ({"evaluation__probe_every": 0}, "probe_every: Input should be greater than 0"),
    ({"evaluation__probe_every": -1}, "probe_every: Input should be greater than 0"),
    ({"evaluation__probe_every": None, "evaluation__probe_on": "digits"}, "how often: --probe-every 1"),
    ({"evaluation__probe_shots": 0}, "probe_shots"), ({"evaluation__probe_shots": []}, "probe_shots"),
    ({"evaluation__probe_images": 0}, "probe_images"),
])
def test_what_cannot_be_asked(changes: dict[str, Any], words: str) -> None:
    with pytest.raises(UsageError, match=words):
        recipe(**changes)


def test_older_runs_go_on_with_and_without_it() -> None:
    assert recipe().identity() == recipe(evaluation__probe_every=None).identity()
