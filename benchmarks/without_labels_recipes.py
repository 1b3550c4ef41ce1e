"""The recipes that are compared in learning_without_labels.py: the same model, the same pictures, the same compute."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from vitrail.data.source import Source
from vitrail.data.split import few_shot_rows
from vitrail.models import build
from vitrail.recipe import Recipe
from vitrail.recipes import RECIPES
from vitrail.training.backend import Backend
from vitrail.workshop import build_objective

MASKED = "objective.masked_patch."
OBJECTIVES: dict[str, tuple[str, dict[str, Any]]] = {
    "masked-color": ("masked-patch", {f"{MASKED}target": "mean-color", f"{MASKED}corrupted": 0.5}),
    "masked-downsized": ("masked-patch", {f"{MASKED}target": "downsized", f"{MASKED}corrupted": 0.5}),
    "masked-pixels": ("masked-patch", {f"{MASKED}target": "pixels", f"{MASKED}corrupted": 0.5}),
    "masked-color-15": ("masked-patch", {f"{MASKED}target": "mean-color", f"{MASKED}corrupted": 0.15}),
    "mae": ("mae", {}),
    "dino": ("dino", {}),
}
"""Objective and settings; the recipe `pretrain` chooses what else an objective wants."""

TRAINING_FLOPS = 6  # for a multiply-add forward: two operations, and backward costs twice that again

LOOKS = {100: 20_000, 1_000: 40_000}
"""How many images fine-tuning sees, up to so many labels; beyond, as many, or each image twice."""


def pretraining(name: str, seed: int, free: Source, steps: int) -> Recipe:
    objective, settings = OBJECTIVES[name]
    recipe = RECIPES["pretrain"](free, seed=seed, objective=objective)
    return recipe.replaced({"data.validation": 0.0, "schedule.steps": steps, **settings})


def macs_of(recipe: Recipe, source: Source) -> int:
    """Multiply-adds of one image in training, forward, by what the objective says of itself."""
    classes = len(source.classes) if recipe.objective.labeled else 0
    with torch.device("meta"):
        model = build(recipe.model.configure(classes, recipe.preprocess.size))
    return build_objective(recipe, model, source, Backend("fp32", None, ""), torch.device("meta")).macs()


def steps_for(recipe: Recipe, source: Source, flops: float) -> int:
    """At least one."""
    return max(1, round(flops / (TRAINING_FLOPS * macs_of(recipe, source) * recipe.training.batch_size)))


def labeled_part(source: Source, labels: int | None, seed: int) -> Source:
    """So many labels, as many of each class (the same ones and more, where there are more); all of them for None. The
    test stays whole."""
    if labels is None or labels >= len(source.splits["train"]):
        return source
    train = source.splits["train"]
    rows = np.sort(few_shot_rows(train.labels, max(1, labels // len(source.classes)), seed))
    splits = {"train": train.subset(rows), "test": source.splits["test"]}
    return replace(source, splits=splits, fingerprint=f"{source.fingerprint} {len(rows)} drawn by {seed}")


def looks_of(part: Source) -> int:
    images = len(part.splits["train"])
    return next((looks for most, looks in LOOKS.items() if images <= most), max(40_000, 2 * images))


def finetuning(part: Source, weights: Path, seed: int) -> Recipe:
    recipe = RECIPES["finetune"](part, weights=str(weights), seed=seed)
    return recipe.replaced({"data.validation": 0.0,
                            "schedule.steps": math.ceil(looks_of(part) / recipe.training.batch_size)})


def from_scratch(part: Source, whole: Source, seed: int, flops: float) -> Recipe:
    """The default recipe's model for all images, for as many looks as fine-tuning has and `flops` pay for beyond."""
    model = RECIPES["default"](whole, seed=seed)
    recipe = RECIPES["default"](part, model=model.model.name, seed=seed).model_copy(
        update={"model": model.model, "preprocess": model.preprocess})
    beyond = flops / (TRAINING_FLOPS * macs_of(recipe, part))
    return recipe.replaced({"data.validation": 0.0,
                            "schedule.steps": math.ceil((looks_of(part) + beyond) / recipe.training.batch_size)})
