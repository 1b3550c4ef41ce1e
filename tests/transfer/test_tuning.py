"""Fine-tuning as a row of the probe: its numbers are those of its runs, which are taken up again."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tiny import tiny_recipe, train

import vitrail
from vitrail.bundle import Bundle
from vitrail.data.preprocess import Preprocess
from vitrail.errors import DataError, UnknownNameError, UsageError
from vitrail.training.guard import Interrupts
from vitrail.transfer import tuning as station
from vitrail.transfer.probe import measure, plan_probe
from vitrail.transfer.tuning import Tuning


@pytest.fixture(autouse=True)
def no_page(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("vitrail.run.ending.write_report", lambda *given, **named: None)


@pytest.fixture
def weights(tmp_path: Path) -> Path:
    torch.manual_seed(0)
    model = vitrail.create("mu/4", classes=0, image_size=8)
    return Bundle(model, Preprocess(size=8), activation="none").save(tmp_path / "weights")


def probed(weights: Path, **asked: Any) -> Any:
    tuning = Tuning(str(weights), runs=weights.parent / "runs", **{"steps": 3} | asked.pop("tuning", {}))
    given = {"methods": ["finetune"], "seeds": 2, "cache": weights.parent / "cache"} | asked
    return measure(plan_probe(vitrail.load(weights), ["digits"], tuning=tuning, **given))


def test_a_row_for_each_number_of_images_is_what_its_runs_reached(weights: Path) -> None:
    found = probed(weights, methods=["knn", "finetune"], tuning={"images": (1_000, 100)})
    assert [(score.method, score.setting, score.images, len(score.accuracies)) for score in found.scores] == [
        ("knn", "k=20", 1_438, 1), ("finetune", "100 images", 100, 2), ("finetune", "1,000 images", 1_000, 2)]
    runs = {path.parent.name.split("-")[0]: [] for path in weights.parent.glob("runs/*/*/recipe.json")}
    for path in sorted(weights.parent.glob("runs/*/*/bundle")):
        bundle = Bundle.load(path)
        evaluation = vitrail.evaluate(bundle, "digits", "test")
        runs[path.parent.name.split("-")[0]].append(evaluation.top1)
    for score in found.scores[1:]:
        assert sorted(score.accuracies) == pytest.approx(sorted(runs[str(score.images)]))


def test_what_is_there_is_not_trained_again_and_what_was_stopped_goes_on(weights: Path,
                                                                        monkeypatch: pytest.MonkeyPatch) -> None:
    whole = probed(weights, seeds=1, tuning={"images": (50,), "steps": 5})
    begun: list[tuple[int, bool]] = []
    real = station.run

    def counted(recipe: Any, folder: Path, **options: Any) -> Any:
        begun.append((recipe.seed, options["resume"]))
        if not options["resume"]:
            options["interrupts"] = Interrupts()
        for event in real(recipe, folder, **options):
            if not options["resume"] and getattr(getattr(event, "step", None), "step", None) == 2:
                options["interrupts"].signal = 15
            yield event

    monkeypatch.setattr(station, "run", counted)
    with pytest.raises(KeyboardInterrupt) as stopped:
        probed(weights, seeds=2, tuning={"images": (50,), "steps": 5})
    assert stopped.value.args == (15,)
    assert begun == [(1, False)]  # seed 0 was there
    both = probed(weights, seeds=2, tuning={"images": (50,), "steps": 5})
    assert begun == [(1, False), (1, True)]
    assert both.scores[0].accuracies[0] == whole.scores[0].accuracies[0]
    again = probed(weights, seeds=2, tuning={"images": (50,), "steps": 5})
    assert again.scores == both.scores
    assert len(begun) == 2


def test_without_a_number_it_learns_from_as_many_as_the_others(weights: Path) -> None:
    assert [(score.setting, score.images) for score in probed(weights).scores] == [("", 1_438)]
    assert [(score.images, len(score.accuracies)) for score in probed(weights, examples=40).scores] == [(40, 2)]


def test_the_papers_recipe_is_that_of_the_table_at_the_size_of_the_model(weights: Path) -> None:
    plan = plan_probe(vitrail.load(weights), ["digits"], methods=["finetune"], tuning=Tuning(str(weights)))
    part = station.part_of(plan.tasks[0], np.arange(100), 0)
    recipe = station.recipe_of(Tuning(str(weights), "paper_finetune"), part, 0, (8, 8))
    assert (recipe.optimizer.name, recipe.optimizer.learning_rate, recipe.schedule.steps) == ("sgd", 0.01, 500)
    assert recipe.preprocess.size == (8, 8)
    assert recipe.training.batch_size == 100
    short = station.recipe_of(Tuning(str(weights), "paper_finetune", steps=20), part, 0, (8, 8))
    assert (short.schedule.steps, short.schedule.warmup) == (20, 2)


def test_what_cannot_be_asked(weights: Path) -> None:
    for tuning, error, words in (({"recipe": "augreg"}, UnknownNameError, "Known: finetune, paper_finetune"),
                                 ({"images": (0,)}, UsageError, "0 was given"), ({"steps": 0}, UsageError, "from 1")):
        with pytest.raises(error, match=words):
            probed(weights, tuning=tuning)
    with pytest.raises(DataError, match="single class"):
        probed(weights, tuning={"images": (1,)})
    with pytest.raises(UsageError, match="path of the model"):
        vitrail.probe(vitrail.load(weights), "digits", methods=["finetune"])


def test_a_run_folder_is_where_it_starts_from_too(tmp_path: Path) -> None:
    """Its own data keep their splits: what was held out then is asked about."""
    train(tiny_recipe(schedule__steps=2), tmp_path / "run")
    tuning = Tuning(str(tmp_path / "run"), images=(30,), steps=1, runs=tmp_path / "runs")
    found = measure(plan_probe(vitrail.load(tmp_path / "run"), ["digits"], methods=["finetune"], seeds=1,
                               tuning=tuning))
    assert found.sources[0].train == 1_293
    assert found.width == 32
