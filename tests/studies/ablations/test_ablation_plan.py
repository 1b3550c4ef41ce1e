from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
from ablation_rows import filled, planned, row, source

from vitrail.data.source import open_source
from vitrail.errors import DataError, UnknownNameError, UsageError
from vitrail.models import ViTConfig
from vitrail.studies.ablations import ABLATIONS, AblationStudy
from vitrail.studies.ablations.plan import plan
from vitrail.studies.question import left


def flat(variant: str, rate: float, seed: int) -> tuple[float, float]:
    return 0.8, 0.8


@pytest.mark.parametrize(("name", "options", "first", "total"), [
    ("head", {}, 9, 9 + 3 * 2 + 3), ("head", {"seeds": 1}, 9, 10), ("optimizer", {"seeds": 2}, 6, 6 + 2),
    ("head", {"factors": (0.1, 0.3, 1, 3, 10)}, 15, 15 + 6 + 3), ("positions", {}, 24, 24),
    ("masked-patch", {}, 9, 9),    ("patch", {"factors": (1, 3)}, 6, 12)])
def test_the_rates_come_first_and_the_seeds_when_those_are_known(name, options, first, total) -> None:
    asked = planned(name, **options)
    assert (len(asked.cells({})), asked.total) == (first, total)
    rows = filled(asked, flat)
    assert len(asked.cells(rows)) == total
    assert left(AblationStudy(asked), rows) == 0
    assert [cell.key for cell in asked.cells(rows)] == [cell.key for cell in asked.cells(rows)]
    assert {cell.recipe.seed for cell in asked.cells(rows)} == set(range(asked.seeds))


def test_the_recipes_own_rate_comes_first_for_every_variant() -> None:
    asked = planned("head")
    assert [cell.labels["rate"] for cell in asked.cells({})][:3] == [asked.base.optimizer.learning_rate] * 3
    assert len({cell.key for cell in asked.cells({})}) == 9


def test_a_rate_is_chosen_by_validation_and_never_by_the_test_images() -> None:
    asked = planned("head")
    low, _, high = asked.rates(asked.by_name["mean"])

    def trap(variant: str, rate: float, seed: int) -> tuple[float, float]:
        return (0.9, 0.1) if rate == high else (0.5, 0.99)

    rows = filled(asked, trap)
    assert {asked.chosen(one, rows) for one in asked.running} == {high}
    assert {cell.labels["rate"] for cell in asked.cells(rows)[9:]} == {high}
    tie = filled(asked, lambda variant, rate, seed: (0.5 if rate == high else 0.7, rate))
    assert asked.chosen(asked.by_name["mean"], tie) == low


def test_a_run_that_diverged_is_the_last_choice() -> None:
    asked = planned("optimizer", seeds=1)
    rows = {cell.key: row(cell, 0.2, 0.2) for cell in asked.cells({})}
    worst = asked.grid["sgd"][asked.rates(asked.by_name["sgd"])[0]]
    rows[worst.key]["result"] = {"diverged": "Step 3: the loss is not finite"}
    assert asked.chosen(asked.by_name["sgd"], rows) == asked.rates(asked.by_name["sgd"])[1]
    assert worst.may_diverge


def test_what_two_variants_share_is_trained_once() -> None:
    asked = planned("head")
    rows = filled(asked, flat)
    assert len(rows) == 15  # mean pooling has the class token's rate by itself
    moved = filled(asked, lambda variant, rate, seed: (rate if variant == "token" else -rate, 0.5))
    assert len(moved) == 17  # of those at the class token's rate, that of the first seed is in the grid


def test_eight_kinds_of_positions_differ_in_the_config_and_in_nothing_else() -> None:
    asked = planned("positions")
    configs = [recipe.model.configure(10, recipe.preprocess.size) for recipe in asked.recipes.values()]
    assert all(isinstance(config, ViTConfig) for config in configs)
    kinds = [(config.positions, config.positions_at) for config in configs]
    assert kinds == [("none", "stem"), ("learned", "stem"), ("learned", "every"), ("learned", "shared"),
                     ("learned-2d", "stem"), ("learned-2d", "every"), ("learned-2d", "shared"), ("relative", "every")]
    rest = {json.dumps(config.model_dump(mode="json", exclude={"positions", "positions_at"})) for config in configs}
    assert len(rest) == 1
    assert len({(cell.recipe.data, cell.recipe.schedule, cell.recipe.optimizer) for cell in asked.cells({})}) == 1
    assert len({cell.key for cell in asked.cells({})}) == 24


def test_shape_changes_one_direction_each_and_says_what_it_costs() -> None:
    asked = planned("shape", "fashion:embedded")
    base = asked.base.model.configure(10, (28, 28))
    changed = {name: {field for field in ViTConfig.model_fields if field != "name" and getattr(
        recipe.model.configure(10, (28, 28)), field) != getattr(base, field)} for name, recipe in asked.recipes.items()}
    assert changed["base"] == set()
    for scale in ("half", "twice"):
        assert changed[f"depth-{scale}"] == {"depth"}
        assert changed[f"width-{scale}"] == {"width", "heads"}
        assert changed[f"MLP-{scale}"] == {"mlp"}
        assert changed[f"patch-{scale}"] == {"patch"}
        assert changed[f"all-{scale}"] == {"depth", "width", "mlp"}
    assert asked.compute["base"] == 1
    assert asked.compute["depth-twice"] == pytest.approx(2, rel=0.05)
    assert asked.compute["all-twice"] == pytest.approx(2, rel=0.15)
    assert asked.compute["patch-half"] > 3.5


def test_patches_fit_the_picture() -> None:
    assert [one.name for one in planned("patch", "fashion:embedded").variants] == [
        "patch-2", "patch-4", "patch-7", "patch-14"]
    names = {cell.model for cell in planned("patch").cells({})}
    assert len(names) == 3  # so that what one takes is no guess at what another does
    with pytest.raises(UsageError, match="no second patch size"):
        planned("patch", changes={"preprocess.size": [13, 13]}, model="mu/1")


def test_both_optimizers_decay_alike_each_at_its_own_rate() -> None:
    asked = planned("optimizer", "fashion:embedded")
    adam, sgd = (asked.recipes[name].optimizer for name in ("adam", "sgd"))
    assert asked.base.model.name == "R26x0.5"
    assert adam.learning_rate * adam.weight_decay == pytest.approx(sgd.learning_rate * sgd.weight_decay, rel=1e-3)
    assert sgd.learning_rate == pytest.approx(0.03 * asked.base.training.batch_size / 256)
    assert asked.rates(asked.by_name["sgd"])[2] == pytest.approx(3 * sgd.learning_rate, rel=1e-3)
    assert planned("optimizer", model="mu/4").base.model.name == "mu/4"


def test_masked_patch_measures_on_images_that_nothing_learned_from() -> None:
    asked = planned("masked-patch")
    recipe = asked.cells({})[0].recipe
    assert (recipe.objective.name, recipe.data.validation) == ("masked-patch", 0.0)
    assert asked.images == 1293 + 145
    assert asked.tested == 359


@pytest.mark.parametrize("name", sorted(ABLATIONS))
def test_what_no_ablation_can_be_made_of(name: str) -> None:
    digits = source("digits")
    train = digits.splits["train"]
    with pytest.raises(DataError, match="a single class"):
        plan(ABLATIONS[name], replace(digits, classes=("one",)))
    with pytest.raises(DataError, match=r"30 training images of 10 classes are too few to tell .* apart: .* 40 in all"):
        plan(ABLATIONS[name], replace(digits, splits=digits.splits | {"train": train.subset(np.arange(30))}))
    with pytest.raises(UsageError, match="0 seeds"):
        planned(name, seeds=0)
    for factor in (0.0, -1.0, float("nan"), float("inf")):
        with pytest.raises(UsageError, match="is no multiple of a learning rate: it must be above 0"):
            planned(name, factors=(1.0, factor))
    with pytest.raises(UsageError, match=r"schedule\.seconds is not possible"):
        planned(name, changes={"schedule.seconds": 60})
    with pytest.raises(UnknownNameError, match="S16"):
        planned(name, model="S16")


@pytest.mark.parametrize("name", sorted(ABLATIONS.keys() - {"optimizer"}))
def test_a_resnet_has_neither_tokens_nor_patches(name: str) -> None:
    with pytest.raises(UsageError, match="R26x1 is a ResNet: this question needs a model with"):
        planned(name, model="R26x1")


def test_rates_need_something_to_choose_them_by() -> None:
    with pytest.raises(UsageError, match=r"chosen by validation, .* --rates 1 takes the recipe's own"):
        planned("masked-patch", factors=(1, 3))
    digits = source("digits")
    untold = replace(digits, splits={name: digits.splits[name] for name in ("train", "test")})
    with pytest.raises(UsageError, match="has none here"):
        plan(ABLATIONS["head"], untold)
    assert len(plan(ABLATIONS["head"], untold, factors=(1.0,)).cells({})) == 12
    with pytest.raises(UsageError, match="would give Adam and SGD one rate"):
        planned("optimizer", changes={"optimizer.learning_rate": 0.1})


def test_patches_of_two_pixels_have_no_smaller_copy_to_guess() -> None:
    asked = planned("masked-patch")
    assert "downsized" not in asked.by_name
    assert asked.ablation.left_out(asked.base) == ("Patches this small cannot be downsized to 4x4, so that target is "
                                                   "left out.",)
    larger = planned("masked-patch", "fashion:embedded")
    assert "downsized" in larger.by_name
    assert larger.ablation.left_out(larger.base) == ()


def test_what_shape_cannot_scale_is_said() -> None:
    asked = planned("shape", model="mu/4")
    assert asked.ablation.left_out(asked.base) == (
        "Left out, since there is none for this model and these pictures: depth (half), patch (twice), all (half), all "
        "(twice).",)


def test_without_validation_images_the_last_checkpoint_counts() -> None:
    digits = open_source("digits")
    found = plan(ABLATIONS["positions"], digits, model="mu/4", changes={"data.validation": 0.0})
    assert found.images == len(digits.splits["train"]) + len(digits.splits["val"])
    assert {cell.recipe.evaluation.keep for cell in found.cells({})} == {"last"}
