"""The published recipes, number by number, as the papers' tables have them."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from vitrail.data.source import open_source
from vitrail.errors import UsageError
from vitrail.recipes import RECIPES, augreg, bit, paper_finetune
from vitrail.recipes.paper_pretrain import row_of

GOLDEN = Path(__file__).parents[1] / "golden"
SCRATCH = ("paper_pretrain", "better_plain", "augreg")


def source_of(images: int, height: int = 300, width: int = 400) -> Any:
    """As a recipe sees so many pictures, of which none is there."""
    class Split:
        names = ("x",)

        def __len__(self) -> int:
            return images

        def read(self, index: int) -> Any:
            import numpy as np

            return np.zeros((height, width, 3), np.uint8)

    return SimpleNamespace(splits={"train": Split()}, spec="made up", classes=("a", "b"), multilabel=False)


@pytest.mark.parametrize(("model", "images", "expected"), [
    ("B/16", 303_000_000, (7, 8e-4, "linear", 0.1, 0.0, None)),
    ("H/14", 303_000_000, (14, 3e-4, "linear", 0.1, 0.0, None)),
    ("R50+L/32", 303_000_000, (7, 2e-4, "linear", 0.1, 0.0, None)),
    ("R152x2", 303_000_000, (7, 6e-4, "linear", 0.1, 0.0, None)),
    ("B/32", 14_000_000, (90, 1e-3, "linear", 0.03, 0.1, None)),
    ("L/16", 14_000_000, (30, 1e-3, "linear", 0.03, 0.1, None)),
    ("L/16", 1_281_167, (300, 3e-3, "cosine", 0.3, 0.1, 1.0)),
])
def test_table_3(model: str, images: int, expected: tuple[Any, ...]) -> None:
    row, _ = row_of(model, images)
    assert row[:6] == expected
    assert row.loss == ("auto" if images < 2_000_000 else "sigmoid")


def test_a_pretraining_recipe_is_the_papers() -> None:
    recipe = RECIPES["paper_pretrain"](source_of(14_000_000), model="B/16")
    assert recipe.training.batch_size == 4096
    assert recipe.schedule.warmup == 10_000
    assert recipe.schedule.final * recipe.optimizer.learning_rate == pytest.approx(1e-5)
    config = recipe.model.configure(21_843, recipe.preprocess.size)
    assert (config.head_hidden, config.head_bias, config.dropout, config.pooling) == (768, -10.0, 0.1, "token")
    assert recipe.augmentation.crop == "inception"
    assert recipe.augmentation.area == (0.05, 1.0)
    assert recipe.optimizer.name == "adam"


@pytest.mark.parametrize(("images", "steps", "warmup", "average"), [
    (2_040, 500, 100, None), (3_680, 500, 100, None), (50_000, 10_000, 500, None), (1_281_167, 20_000, 500, 0.9999)])
def test_table_4(images: int, steps: int, warmup: int, average: float | None) -> None:
    recipe = RECIPES["paper_finetune"](source_of(images), weights=str(GOLDEN / "vit_token.npz"))
    assert (recipe.schedule.steps, recipe.schedule.warmup, recipe.training.average) == (steps, warmup, average)
    optimizer = recipe.optimizer
    assert (optimizer.name, optimizer.momentum, optimizer.weight_decay, optimizer.clip) == ("sgd", 0.9, 0.0, 1.0)
    assert optimizer.learning_rate in (0.001, 0.003, 0.01, 0.03)
    assert recipe.preprocess.size == (384, 384)
    assert recipe.training.batch_size == 512
    assert recipe.model.head == "new"


def test_augreg_has_28_names_and_big_visions_levels() -> None:
    assert len(augreg.NAMED) == 28
    recipe = RECIPES["augreg-strong2-wd0.03-reg"](source_of(1_281_167), model="B/16")
    policy = recipe.augmentation.randaugment
    assert (policy.layers, policy.magnitude, recipe.augmentation.mixup) == (2, 20, 0.8)
    config = recipe.model.configure(1000, (224, 224))
    assert (config.dropout, config.drop_path, config.head_hidden) == (0.1, 0.1, None)
    assert recipe.optimizer.weight_decay == 0.03
    assert recipe.objective.loss == "sigmoid"
    plain = RECIPES["augreg"](source_of(1_281_167), model="Ti/16")
    assert plain.augmentation.randaugment.magnitude == 0
    assert "light1" in plain.reasons["images"]


def test_better_plain_is_2205_01580() -> None:
    recipe = RECIPES["better_plain"](source_of(1_268_355))
    config = recipe.model.configure(1000, recipe.preprocess.size)
    assert (config.positions, config.pooling, config.head_hidden, config.name) == ("sincos-2d", "mean", 384, "S/16")
    assert (recipe.training.batch_size, recipe.schedule.epochs, recipe.optimizer.clip) == (1024, 90, 1.0)
    assert (recipe.augmentation.randaugment.magnitude, recipe.augmentation.mixup) == (10, 0.2)


@pytest.mark.parametrize(("images", "size", "steps", "pixels", "mixup", "rates"), [
    (5_000, 32, 500, 128, 0.0, {0.1: 1.0, 0.5: 0.1, 0.7: 0.01, 0.9: 0.001}),
    (50_000, 32, 10_000, 128, 0.1, {0.2: 1.0, 0.5: 0.1, 0.7: 0.01, 0.95: 0.001}),
    (600_000, 400, 20_000, 480, 0.1, {0.2: 1.0, 0.3: 0.1}),
])
def test_the_rule_of_bit(images: int, size: int, steps: int, pixels: int, mixup: float,
                         rates: dict[float, float]) -> None:
    source = source_of(images, size, size)
    recipe = bit.choose(source, weights=str(GOLDEN / "bit_resnet.npz"))
    assert (recipe.schedule.steps, recipe.preprocess.size, recipe.augmentation.mixup) == (steps, (pixels,) * 2, mixup)
    for progress, factor in rates.items():
        step = round(progress * steps)
        if step > recipe.schedule.warmup:
            assert recipe.schedule.factor(step, progress, steps) == pytest.approx(factor)


@pytest.mark.parametrize("name", SCRATCH)
def test_recipes_from_scratch_refuse_weights(name: str) -> None:
    with pytest.raises(UsageError, match="starts from scratch"):
        RECIPES[name](open_source("digits"), weights="x.npz")


@pytest.mark.parametrize("name", ["paper_finetune", "bit"])
def test_recipes_for_fine_tuning_ask_for_weights(name: str) -> None:
    with pytest.raises(UsageError, match="--weights FILE"):
        RECIPES[name](open_source("digits"))


def test_a_higher_resolution_is_whole_patches() -> None:
    for name, size in (("vit_token.npz", (384, 384)), ("bit_resnet.npz", (384, 384))):
        recipe = paper_finetune.choose(source_of(100), weights=str(GOLDEN / name))
        assert recipe.preprocess.size == size


@pytest.mark.parametrize("name", [*SCRATCH, "augreg-none-wd0.1-reg"])
@pytest.mark.parametrize("model", ["R26x0.25", "axial-Ti/16", "R26+Ti/32", "axial-R26x0.25"])
def test_every_family_can_be_trained_so(name: str, model: str) -> None:
    recipe = RECIPES[name](source_of(1_000), model=model)
    assert recipe.model.configure(2, recipe.preprocess.size).classes == 2
    assert recipe.training.batch_size == 1_000
    assert -(-recipe.training.batch_size // recipe.training.micro_batches) <= 32
