"""The learning rate from a dev split: which images, which rate, and that a search can be stopped anywhere."""

from __future__ import annotations

import csv
import json
from collections import Counter
from pathlib import Path
from unittest.mock import patch

import pytest
import torch
from safetensors.torch import load_file
from tiny import last, tiny_recipe, train

from vitrail import rate_search
from vitrail.data.source import open_source
from vitrail.errors import DivergedError, RunError, UsageError
from vitrail.events import Event, Finished, Noted
from vitrail.rate_search import begin, dev_source, grid, search, trial, under_way
from vitrail.recipe import Recipe, read_recipe
from vitrail.training.guard import Interrupts

GRID = (1e-6, 3e-3, 1e30)


def searched(folder: Path, *, stop_after: int | None = None, recipe: Recipe | None = None,
             steps: int | None = None) -> list[Event]:
    """All events of a search, begun where it was not; after `stop_after` steps of all runs it is asked to stop."""
    source, interrupts, events, taken = open_source("digits"), Interrupts(), [], 0
    with patch("vitrail.run.ending.write_report"), patch.object(rate_search, "grid", return_value=GRID):
        if not under_way(folder):
            begin(recipe or tiny_recipe(), source, folder, steps)
        for event in search(folder, source, interrupts):
            events.append(event)
            taken += hasattr(event, "step") and hasattr(event, "progress")
            if taken == stop_after:
                interrupts.signal = 2
    return events


def weights(folder: Path) -> dict[str, torch.Tensor]:
    return load_file(folder / "bundle" / "model.safetensors")


def test_dev_is_a_part_of_train_and_nothing_else():
    source = open_source("digits")
    held = dev_source(source, 0)
    train_names, dev_names = (set(held.splits[name].names) for name in ("train", "val"))
    assert held.splits.keys() == {"train", "val"}
    assert train_names | dev_names == set(source.splits["train"].names)
    assert not train_names & dev_names
    assert len(dev_names) == pytest.approx(0.1 * len(source.splits["train"]), abs=5)
    assert held.fingerprint != source.fingerprint
    assert set(dev_source(source, 1).splits["val"].names) != dev_names


def test_the_grid_is_that_of_table_4():
    recipe = tiny_recipe(name="paper_finetune", optimizer__learning_rate=0.01)
    assert grid(recipe, 500_000) == (0.001, 0.003, 0.01, 0.03)
    assert grid(recipe, 1_281_167) == (0.003, 0.01, 0.03, 0.06)
    assert grid(tiny_recipe(optimizer__learning_rate=1e-3), 10**7) == (1e-4, 3e-4, 1e-3, 3e-3)


def test_the_best_rate_trains_on_all_training_images_as_if_it_had_been_given(tmp_path):
    done = last(searched(tmp_path / "out"))
    recipe = read_recipe(tmp_path / "out" / "recipe.json")
    assert recipe.optimizer.learning_rate == 3e-3
    words = recipe.reasons["optimizer"]
    assert words.startswith("best on 130 dev images set apart from train (1e-06: ")
    assert words.endswith("%, 1e+30: diverges)")
    train(tiny_recipe(), tmp_path / "told")  # its rate is 0.003
    told = weights(tmp_path / "told")
    assert all(torch.equal(value, told[name]) for name, value in weights(tmp_path / "out").items())
    assert done.split == "test"
    with open(tmp_path / "out" / "manifest.csv") as file:
        assert Counter(row["split"] for row in csv.DictReader(file))["train"] == 1293
    with open(tmp_path / "out" / "rates" / "0.003" / "manifest.csv") as file:
        assert Counter(row["split"] for row in csv.DictReader(file)) == {"train": 1163, "val": 130}
    assert not list((tmp_path / "out").glob("rates/*/checkpoints"))


@pytest.mark.parametrize("stops", [(3,), (10, 4), (4, 3, 12)])
def test_a_stopped_search_goes_on_and_trains_nothing_twice(tmp_path, stops):
    whole = searched(tmp_path / "whole")
    taken = 0
    for count in stops:
        events = searched(tmp_path / "cut", stop_after=count)
        taken += sum(hasattr(event, "progress") for event in events)
        if under_way(tmp_path / "cut"):
            assert isinstance(events[-1], Noted)
            assert "next: vitrail train --resume --out" in events[-1].text
    ended = searched(tmp_path / "cut") if under_way(tmp_path / "cut") else train(
        read_recipe(tmp_path / "cut" / "recipe.json"), tmp_path / "cut", resume=True)
    assert isinstance(ended[-1], Finished)
    taken += sum(hasattr(event, "progress") for event in ended)
    assert taken == sum(hasattr(event, "progress") for event in whole)
    undisturbed = weights(tmp_path / "whole")
    assert all(torch.equal(value, undisturbed[name]) for name, value in weights(tmp_path / "cut").items())
    ledgers = [json.loads((tmp_path / name / "rates" / "search.json").read_text()) for name in ("whole", "cut")]
    assert ledgers[0] == ledgers[1]


def test_trials_may_be_shorter_than_the_run_and_keep_its_share_of_warmup(tmp_path):
    recipe = tiny_recipe(schedule__steps=20, schedule__warmup=10)
    events = searched(tmp_path / "out", steps=4, recipe=recipe)
    assert last(events).steps == 20
    kept = read_recipe(tmp_path / "out" / "rates" / "0.003" / "recipe.json")
    assert (kept.schedule.steps, kept.schedule.warmup) == (4, 2.0)
    assert "after 4 steps" in read_recipe(tmp_path / "out" / "recipe.json").reasons["optimizer"]


def test_the_edge_of_the_grid_is_said(tmp_path):
    with patch(f"{__name__}.GRID", (3e-3, 1e-9)):
        searched(tmp_path / "out")
    assert "the lowest of them, so one beyond may be better" in read_recipe(
        tmp_path / "out" / "recipe.json").reasons["optimizer"]


def test_where_every_rate_diverges(tmp_path):
    with patch(f"{__name__}.GRID", (1e30, 1e31)), pytest.raises(RunError, match=r"Every learning rate of 1e\+30, 1e"):
        searched(tmp_path / "out")
    with pytest.raises(DivergedError, match="not finite"):
        train(tiny_recipe(optimizer__learning_rate=1e30), tmp_path / "alone")


def test_a_trial_differs_from_the_run_in_its_rate_alone():
    found = rate_search.Search(recipe=tiny_recipe(), grid=GRID, dev=1, data="")
    assert trial(found, 0.5) == tiny_recipe(optimizer__learning_rate=0.5, evaluation__every_epochs=1e6)


def test_other_data_a_damaged_record_and_a_full_folder_are_refused(tmp_path):
    source = open_source("digits")
    begin(tiny_recipe(), source, tmp_path / "out")
    with pytest.raises(UsageError, match="is not empty"):
        begin(tiny_recipe(), source, tmp_path / "out")
    with pytest.raises(RunError, match="is not what it was when this search began"):
        list(search(tmp_path / "out", dev_source(source, 0), Interrupts()))
    (tmp_path / "out" / "rates" / "search.json").write_text("{")
    with pytest.raises(RunError, match="cannot be read, so the search cannot go on"):
        list(search(tmp_path / "out", source, Interrupts()))
