from __future__ import annotations

from dataclasses import replace
from fractions import Fraction
from itertools import pairwise

import numpy as np
import pytest

from vitrail.data.source import open_source
from vitrail.errors import DataError, UnknownNameError, UsageError
from vitrail.models import describe
from vitrail.studies.compute.plan import Setting, plan
from vitrail.studies.data_size.plan import plan as plan_sizes
from vitrail.studies.ladder import ladder


@pytest.mark.parametrize("name", ["fashion:embedded", "digits"])
def test_the_ladder_has_sizes_of_three_families_that_cost_alike(name: str) -> None:
    found = plan(open_source(name))
    assert found.families == ["vit", "bit", "hybrid"]
    for family in found.families:
        macs = sorted({setting.exaflops / setting.samples for setting in found.of(family)})
        assert len(macs) >= 2
        assert macs[-1] > 3 * macs[0]
    largest = [max(setting.exaflops for setting in found.of(family)) for family in found.families]
    assert max(largest) < 4 * min(largest)


def test_the_largest_vit_is_the_default_recipe_and_shares_its_run_with_a_study_of_sizes() -> None:
    source = open_source("fashion:embedded")
    sizes = plan_sizes(source, [None])
    whole = next(cell.key for cell in sizes.cells if cell.images == sizes.sizes[-1])
    assert whole in {cell.key for cell in plan(source).cells}


def test_what_a_setting_costs_is_six_times_multiply_adds_times_images() -> None:
    source = open_source("digits")
    for setting, cells in plan(source, ["mu/4", "R26x0.5"], lengths=["0.1", "1"]).settings.items():
        recipe = cells[0].recipe
        config = recipe.model.configure(10, recipe.preprocess.size)
        assert setting.samples == cells[0].samples
        assert setting.exaflops == pytest.approx(6 * describe(config).macs * setting.samples / 1e18)


def test_the_cheap_come_first_spread_over_the_axis_then_what_lies_between_then_seeds() -> None:
    found = plan(open_source("fashion:embedded"))
    setting_of = {cell.key: setting for setting, cells in found.settings.items() for cell in cells}
    alone = [cell for cell in found.cells if cell.recipe.seed == 0]
    assert list(found.cells[: len(alone)]) == alone
    assert len({cell.key for cell in found.cells}) == len(found.cells)
    costs = [setting_of[cell.key].exaflops for cell in alone]
    spread = next(place for place in range(1, len(costs)) if costs[place] < costs[place - 1])
    assert costs[spread:] == sorted(costs[spread:])
    for family in found.families:
        own = [cost for cost, cell in zip(costs[:spread], alone, strict=False) if cell.labels["family"] == family]
        assert all(later >= 1.5 * earlier for earlier, later in pairwise(own))
        assert own[0] == found.of(family)[0].exaflops
    for place in range(1, 13):  # wherever the time ends, no family is far behind
        counts = [[cell.labels["family"] for cell in alone[:place]].count(family) for family in found.families]
        assert max(counts) - min(counts) <= 1


def test_seeds_are_of_the_cheapest_and_the_middle_setting_of_each_family() -> None:
    found = plan(open_source("digits"), seeds=4)
    for family in found.families:
        assert [len(found.settings[one]) for one in found.of(family)].count(4) == 2
        assert len(found.settings[found.of(family)[0]]) == 4


def test_each_length_is_a_whole_run_on_all_images() -> None:
    source = open_source("digits")
    whole = plan(source, ["mu/4"], lengths=["1"]).cells[0].recipe
    for setting, cells in plan(source, ["mu/4"], lengths=["2", "0.5"]).settings.items():
        recipe = cells[0].recipe
        assert recipe.schedule == whole.schedule.model_copy(
            update={"epochs": float(setting.length) * (whole.schedule.epochs or 0)})
        assert recipe.data == whole.data
        assert recipe.evaluation.keep == "best"


def test_models_that_are_asked_for_are_grouped_by_family() -> None:
    found = plan(open_source("digits"), ["R26x0.5", "mu/4", "mu/2", "half:mu/2"])
    assert found.families == ["bit", "vit"]
    assert [setting.model for setting in found.of("vit") if setting.length == 1] == ["mu/4", "mu/2 (16x1)", "mu/2"]


def test_lengths_are_shares_that_rise() -> None:
    found = plan(open_source("digits"), ["mu/4"], lengths=["1", "1/4", "0.25", " 2 "])
    assert found.lengths == (Fraction(1, 4), Fraction(1), Fraction(2))


@pytest.mark.parametrize(("text", "words"), [
    ("long", "--lengths long is no number"), ("1/0", "1/0 is no number"), ("nan", "is no number"),
    ("0", "--lengths 0 is not possible"), ("-1/2", "-1/2 is not possible")])
def test_lengths_that_are_none(text: str, words: str) -> None:
    with pytest.raises(UsageError, match=words):
        plan(open_source("digits"), ["mu/4"], lengths=["1", text])


def test_what_a_study_of_compute_cannot_be_made_of() -> None:
    source = open_source("digits")
    with pytest.raises(DataError, match="a single class"):
        plan(replace(source, classes=("one",)))
    with pytest.raises(DataError, match="several labels"):
        plan(replace(source, multilabel=True))
    few = replace(source, splits=source.splits | {"train": source.splits["train"].subset(np.arange(20))})
    with pytest.raises(DataError, match=r"20 training images of 10 classes are too few to compare models on: .* 40"):
        plan(few)
    with pytest.raises(UsageError, match="0 seeds"):
        plan(source, seeds=0)
    with pytest.raises(UsageError, match=r"R26x0\.125: an image of 8x8 pixels"):
        plan(source, ["R26x0.125"])
    with pytest.raises(UnknownNameError, match="S16"):
        plan(source, ["S16"])


@pytest.mark.parametrize("length", ["epochs", "steps", "seconds"])
def test_lengths_are_not_set_twice(length: str) -> None:
    with pytest.raises(UsageError, match=f"--set schedule.{length} would make all lengths .* the same"):
        plan(open_source("digits"), changes={f"schedule.{length}": 3})


def test_other_settings_are_for_all() -> None:
    found = plan(open_source("digits"), changes={"schedule.warmup": 0.2, "data.fraction": 0.5})
    assert {cell.recipe.schedule.warmup for cell in found.cells} == {0.2}
    assert all(500 < cell.images < 800 for cell in found.cells)


def test_no_resnet_is_too_narrow_for_its_images() -> None:
    names = [rung.model for rung in ladder(open_source("digits"))["resnet"]]
    assert names == ["R26x0.5", "R26x1"]
    assert isinstance(next(iter(plan(open_source("digits"), lengths=["1"]).settings)), Setting)
