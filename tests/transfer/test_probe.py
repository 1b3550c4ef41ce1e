"""The whole probe on real pictures with a small model: plans, draws, bad pictures, suites, and what is refused."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from tiny import tiny_recipe, train

import vitrail
from vitrail.bundle import Bundle
from vitrail.data.preprocess import Preprocess
from vitrail.errors import DataError, UnknownNameError, UsageError
from vitrail.evaluation.frozen.features import features
from vitrail.evaluation.frozen.few_shot import ridge
from vitrail.evaluation.frozen.trials import trials_of
from vitrail.transfer.probe import measure, plan_probe


@pytest.fixture
def bundle() -> Bundle:
    torch.manual_seed(0)
    return Bundle(vitrail.create("mu/4", classes=10, image_size=8), Preprocess(size=8)).without_head()


def photos(folder: Path, counts: dict[str, int]) -> Path:
    """Classes that differ in color, some pictures each."""
    shades = sorted({path.split("/")[-1] for path in counts})
    for place, (path, count) in enumerate(counts.items()):
        (folder / path).mkdir(parents=True, exist_ok=True)
        for number in range(count):
            pixels = np.random.default_rng([place, number]).integers(0, 30, (8, 8, 3), np.uint8)
            pixels[..., shades.index(path.split("/")[-1])] += 200
            Image.fromarray(pixels).save(folder / path / f"{number}.png")
    return folder


def test_more_neighbors_than_images_are_noted(bundle):
    noted, = plan_probe(bundle, ["digits"], neighbors=[20, 5000], examples=100).notes
    assert noted == "digits: 5000 neighbors are to vote, and there are 100 training images: all of them do"
    assert not plan_probe(bundle, ["digits"], neighbors=[100], examples=100).notes
    assert not plan_probe(bundle, ["digits"], methods=["few-shot"], neighbors=[5000]).notes


def test_few_shot_is_the_mean_over_subsets_of_the_reference(bundle, tmp_path):
    probed = measure(plan_probe(bundle, ["digits"], methods=["few-shot"], shots=[5, 2], seeds=2, cache=tmp_path))
    digits = vitrail.open_source("digits", validation=0.0)
    train, test = (features(bundle, digits, name, cache=tmp_path) for name in ("train", "test"))
    assert [(score.setting, score.images) for score in probed.scores] == [("2 shots", 20), ("5 shots", 50)]
    for seed in range(2):
        generator = np.random.default_rng(seed)
        rows = np.concatenate([generator.permutation(np.flatnonzero(train.labels == label))[:5] for label in range(10)])
        right = ridge(train.values[rows], train.labels[rows], 10).predict(test.values) == test.labels
        assert probed.scores[1].accuracies[seed] == pytest.approx(right.mean())
    assert probed.scores[1].mean == pytest.approx(np.mean(probed.scores[1].accuracies))


def test_every_method_beats_chance_on_digits_by_far(bundle, tmp_path, monkeypatch):
    monkeypatch.setattr("vitrail.evaluation.frozen.linear.STEPS", 200)
    methods = ["few-shot", "knn", "linear", "logistic"]
    probed = measure(plan_probe(bundle, ["digits"], methods=methods, shots=[25], neighbors=[1, 20], cache=tmp_path))
    assert [f"{score.method} {score.setting}".strip() for score in probed.scores] == [
        "few-shot 25 shots", "knn k=1", "knn k=20", "linear", "logistic"]
    for score in probed.scores:
        assert score.mean > 0.4, score
        assert score.interval[0] <= score.mean <= score.interval[1]
    assert [len(score.chosen) for score in probed.scores] == [0, 0, 0, 1, 1]


def test_only_the_images_that_are_learned_from_get_features(bundle, tmp_path):
    seen = {}
    measure(plan_probe(bundle, ["digits"], methods=["few-shot"], shots=[1], seeds=2, cache=tmp_path),
            lambda doing, at: seen.setdefault(doing, at.total))
    assert seen["features of digits (train)"] <= 20
    assert seen["features of digits (test)"] == 359


def test_draws():
    labels = np.repeat(np.arange(4), 25)
    few = trials_of(labels, ["few-shot"], [1, 3], 2, None)
    assert [(trial.shots, trial.seed, len(trial.rows)) for trial in few] == [
        (1, 0, 4), (1, 1, 4), (3, 0, 12), (3, 1, 12)]
    whole, = trials_of(labels, ["knn"], [1], 3, None)
    assert whole.rows.tolist() == list(range(100))
    assert len(trials_of(labels, ["knn"], [1], 3, 100)) == 1  # that many is all of them
    drawn = trials_of(labels, ["knn"], [1], 3, 10)
    assert [len(set(trial.rows)) for trial in drawn] == [10, 10, 10]
    assert len({tuple(trial.rows) for trial in drawn}) == 3


def test_a_suite_has_a_mean_and_learns_from_as_many_everywhere(bundle, tmp_path):
    colors = photos(tmp_path / "colors", {"red": 12, "green": 12})
    probed = measure(plan_probe(bundle, ["digits", str(colors)], shots=[2], cache=tmp_path / "cache"))
    assert [(score.source, score.images) for score in probed.scores if score.method == "knn"] == [
        ("digits", 1_000), (str(colors), 22)]
    for suite in probed.suite:
        values = [score.mean for score in probed.scores if score.method == suite.method]
        assert suite.mean == pytest.approx(np.mean(values))
        assert suite.interval[0] < suite.mean < suite.interval[1]


def test_bad_pictures_are_named_and_count_as_wrong(bundle, tmp_path):
    folder = photos(tmp_path / "colors", {"train/red": 4, "train/green": 4, "test/red": 5, "test/green": 5})
    (folder / "test" / "red" / "3.png").write_bytes(b"no picture")
    (folder / "train" / "red" / "0.png").write_bytes(b"no picture")
    probed = measure(plan_probe(bundle, [str(folder)], methods=["few-shot"], shots=[4], cache=tmp_path / "cache"))
    assert sorted(Path(one.path).name for one in probed.sources[0].unread) == ["0.png", "3.png"]
    assert probed.scores[0].images == 7
    assert probed.scores[0].mean == pytest.approx(0.9)  # the colors are told apart; one of ten was not seen


def test_classes_with_fewer_images_than_shots_are_said_and_taken_whole(bundle, tmp_path):
    folder = photos(tmp_path / "colors", {"train/red": 2, "train/green": 6, "test/red": 3, "test/green": 3})
    plan = plan_probe(bundle, [str(folder)], methods=["few-shot"], shots=[1, 5], cache=tmp_path / "cache")
    note, = [note for note in plan.notes if "shots" in note]
    assert note.startswith("5 shots on")
    assert 'class "red" has fewer images' in note
    assert measure(plan).scores[1].images == 7


def test_its_own_training_data_keep_their_splits(tmp_path):
    folder = photos(tmp_path / "colors", {"red": 30, "green": 30})
    recipe = tiny_recipe(data__source=str(folder), data__split_seed=5, schedule__steps=2, training__batch_size=8)
    own = train(recipe, tmp_path / "run")[-1].bundle
    then = vitrail.open_source(folder, seed=5, validation=recipe.data.validation)
    plan = plan_probe(own, [str(folder)], methods=["knn"])
    assert plan.tasks[0].test_split.names == then.splits["test"].names
    assert any("was trained on" in note for note in plan.notes)
    assert plan_probe(own, ["digits"]).notes == ()


def test_sources_that_cannot_be_learned_from(bundle, tmp_path):
    photos(tmp_path / "flat", {".": 3})
    with pytest.raises(DataError, match="no picture has a label"):
        plan_probe(bundle, [str(tmp_path / "flat")])
    with pytest.raises(DataError, match="as its only class"):
        plan_probe(bundle, [str(photos(tmp_path / "one", {"cat": 9}))])
    np.savez(tmp_path / "several.npz", images=np.zeros((6, 8, 8), np.uint8), labels=np.ones((6, 3), np.uint8))
    with pytest.raises(DataError, match="several labels"):
        plan_probe(bundle, [str(tmp_path / "several.npz")])
    with pytest.raises(DataError, match="train only"):
        plan_probe(bundle, [str(photos(tmp_path / "few", {"cat": 1, "dog": 1}))])
    with pytest.raises(DataError, match="single class"):
        measure(plan_probe(bundle, ["digits"], methods=["knn"], examples=1, cache=tmp_path / "cache"))


@pytest.mark.parametrize(("asked", "error", "message"), [
    ({"methods": ["few-shoot"]}, UnknownNameError, "Did you mean 'few-shot'"),
    ({"methods": []}, UsageError, "No method"),
    ({"shots": [0]}, UsageError, "shots: 0"),
    ({"shots": []}, UsageError, "shots: nothing"),
    ({"seeds": 0}, UsageError, "seeds: 0"),
    ({"neighbors": [-1]}, UsageError, "neighbors: -1"),
    ({"examples": 0}, UsageError, "examples: 0"),
    ({"temperature": 0.0}, UsageError, "temperature 0"),
    ({"layer": "last"}, UnknownNameError, "Known: embedding, patches, both"),
])
def test_what_cannot_be_asked(bundle, asked, error, message):
    with pytest.raises(error, match=message):
        plan_probe(bundle, ["digits"], **asked)


def test_nothing_to_measure_on(bundle):
    with pytest.raises(UsageError, match="one or more sources"):
        plan_probe(bundle, [])
    with pytest.raises(DataError, match="no file or folder"):
        plan_probe(bundle, ["nowhere"])


def test_as_a_function(bundle, tmp_path):
    probed = vitrail.probe(bundle.save(tmp_path / "bundle"), "digits", methods=["knn"], neighbors=[3],
                           cache=tmp_path / "cache")
    assert [score.setting for score in probed.scores] == ["k=3"]
    assert type(probed).model_validate_json(probed.model_dump_json()) == probed
