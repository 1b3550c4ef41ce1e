"""The recipes of a study's cells: what the default recipe does with a source, for any model; and who is refused."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np

from vitrail.data.source import Source
from vitrail.data.split import share_of
from vitrail.errors import DataError, UsageError
from vitrail.models import configure, describe
from vitrail.recipe import Recipe
from vitrail.recipes import RECIPES
from vitrail.vocabulary import Size

HALF = "half"
LEAST_IMAGES = 4
"""Of each class, on average, that anything is trained on."""


def refuse_unusable(source: Source) -> None:
    """Raises DataError for what no accuracy can be measured on."""
    if len(source.classes) < 2:
        raise DataError(f"{source.spec} has {'a single class' if source.classes else 'no labels'}: a study counts "
                        "images that are named rightly, and needs two classes to tell apart.")
    if source.multilabel:
        raise DataError(f"{source.spec} has several labels an image; a study counts images that are named rightly, and "
                        "needs one label each.")
    if "test" not in source.splits and "val" not in source.splits:
        raise DataError(f"{source.spec} holds nothing out to measure on. Give a test split.")


def refuse_few(source: Source, purpose: str) -> None:
    """Raises DataError for too few training images; `purpose`: what for, in words."""
    images, needed = len(source.splits["train"]), LEAST_IMAGES * len(source.classes)
    if images < needed:
        raise DataError(f"{images:,} training images of {len(source.classes)} classes are too few {purpose}: "
                        f"{LEAST_IMAGES} of each class on average, {needed:,} in all, are needed at least.")


def refuse_no_seeds(seeds: int) -> None:
    if seeds < 1:
        raise UsageError(f"{seeds} seeds cannot be trained: 1 at least.")


def costs_of(names: Iterable[str], classes: int, size: Size) -> dict[str, int]:
    """Multiply-adds of one image by each model that there can be for images of that size."""
    found = {}
    for name in names:
        try:
            found[name] = describe(configure(name, classes=classes, image_size=size)).macs
        except UsageError:  # too narrow for images so small
            continue
    return found


def recipe_for(source: Source, model: str | None, weights: str | None, changes: dict[str, Any]) -> Recipe:
    """As for all images; the best checkpoint by validation counts, as in the paper, where there is validation."""
    kept: dict[str, Any] = {"evaluation.keep": "best"} if "val" in source.splits else {}
    name, narrow = read_model(model)
    if narrow and weights is not None:
        raise UsageError(f"{model}: trained weights have the width that they have. Leave out {HALF} or --weights.")
    recipe = RECIPES["default"](source, model=name, weights=weights)
    return recipe.replaced((halved(recipe) if narrow else {}) | kept | changes)


def read_model(model: str | None) -> tuple[str | None, bool]:
    """The name that the default recipe takes, and whether half of it is meant."""
    if model is None or model.split(":")[0] != HALF:
        return model, False
    return model.partition(":")[2] or None, True


def halved(recipe: Recipe) -> dict[str, Any]:
    """Every hidden dimension by two, as the paper's ViT-b has those of ViT-B; depth, heads and patches stay."""
    config = recipe.model.configure(2, recipe.preprocess.size)
    wide = {name: getattr(config, name) for name in ("width", "mlp", "stem_width") if getattr(config, name, None)}
    return {f"model.settings.{name}": value / 2 if isinstance(value, float) else value // 2
            for name, value in wide.items()}


def drawn(source: Source, fraction: float) -> int:
    """How many images a part really has: each class gives a whole number of them."""
    return sum(share_of(int(count), fraction) for count in np.bincount(source.splits["train"].labels) if count)
