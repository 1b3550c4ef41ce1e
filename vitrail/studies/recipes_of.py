"""The recipes of a study's cells: what the default recipe does with a source, for any model; and who is refused."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import numpy as np

from vitrail.data.source import Source
from vitrail.data.split import share_of
from vitrail.errors import DataError, UnknownNameError, UsageError
from vitrail.models import family_of
from vitrail.models.names import KNOWN_NAMES
from vitrail.recipe import Recipe
from vitrail.recipes import RECIPES
from vitrail.studies.ladder import FAMILIES, Rung, largest

HALF = "half"
LEAST_IMAGES = 4
"""Of each class, on average, that anything is trained on."""

MOST_SEEDS = 100
SHORTEST, LONGEST = Fraction(1, 1000), 1000
"""Shares of the default recipe's length that are no slip of the finger."""


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
                        f"{LEAST_IMAGES} of each class on average, {needed:,} in all, are needed at least"
                        f"{held_words(source)}.")


def held_words(source: Source) -> str:
    """What of the images is not there to train on."""
    held = [f"{len(split):,} as {name}" for name, split in source.splits.items() if name != "train"]
    return f" ({' and '.join(held)} are held out)" if held else ""


def refuse_seeds(seeds: int) -> None:
    """Raises UsageError for none, and for more than anybody trains."""
    if not 1 <= seeds <= MOST_SEEDS:
        raise UsageError(f"{seeds:,} seeds are not possible: 1 to {MOST_SEEDS}.")


def split_as_asked(source: Source, changes: dict[str, Any]) -> Source:
    """The source with another validation split, say, where settings of the recipe ask for it; whole in any case."""
    data = {name: value for name, value in changes.items()
            if name.startswith("data.") and not name.startswith("data.fraction")}
    return RECIPES["default"](source).replaced(data).data.open() if data else source


def read_length(text: str, option: str) -> Fraction:
    """A share of the default recipe's length. Raises UsageError for what is none."""
    try:
        share = Fraction(text.strip())
    except (ValueError, ZeroDivisionError):
        raise UsageError(f"{option} {text} is no number. Give a share of the default recipe's length, such as 1/4 or "
                         "0.25.") from None
    if not SHORTEST <= share <= LONGEST:
        raise UsageError(f"{option} {text} is not possible: give a share of the default recipe's length from 1/1000 to "
                         f"{LONGEST}, such as 1/4 or 0.25.")
    return share


def recipe_for(source: Source, model: str | None, weights: str | None, changes: dict[str, Any]) -> Recipe:
    """As for all images; the best checkpoint by validation counts, as in the paper, where there is validation."""
    kept: dict[str, Any] = {"evaluation.keep": "best"} if "val" in source.splits else {}
    narrow, name = read_model(model)
    if name in FAMILIES and weights is None:
        rung = largest(source, name)
    elif weights is not None and (narrow or name in FAMILIES):
        raise UsageError(f"{model}: trained weights have the shape that they have. Leave out --models or --weights.")
    else:
        rung = Rung(name, {})
    recipe = RECIPES["default"](source, model=rung.model, weights=weights).replaced(rung.settings)
    return recipe.replaced((halved(recipe) if narrow else {}) | kept | changes)


def read_model(model: str | None) -> tuple[bool, str | None]:
    """Whether half the width is meant, and of which: a model, one of FAMILIES, or None for what the recipe chooses.
    Raises UnknownNameError for a model that there is not, UsageError for half of nothing."""
    if model == f"{HALF}:":
        raise UsageError(f"{HALF}: lacks the model that is to be half as wide: half:S/16, half:vit, or half alone for "
                         "what the default recipe chooses.")
    narrow = model is not None and model.split(":")[0] == HALF
    name = model.partition(":")[2] or None if narrow and model else model
    if name is not None and name not in FAMILIES:
        try:
            family_of(name)
        except UnknownNameError:
            raise UnknownNameError("model", name, (*FAMILIES, HALF, f"{HALF}:NAME", *KNOWN_NAMES)) from None
    return narrow, "resnet" if name == "bit" else name


def halved(recipe: Recipe) -> dict[str, Any]:
    """Every hidden dimension by two, as the paper's ViT-b has those of ViT-B; depth, heads and patches stay."""
    config = recipe.model.configure(2, recipe.preprocess.size)
    if config.family == "bit" and "(" not in config.name:  # R26x1 has a name for its half
        return {"model.name": f"{config.name.split('x')[0]}x{config.width / 2:g}"}
    wide = {name: getattr(config, name) for name in ("width", "mlp", "stem_width") if getattr(config, name, None)}
    return {f"model.settings.{name}": value / 2 if isinstance(value, float) else value // 2
            for name, value in wide.items()}


def drawn(source: Source, fraction: float) -> int:
    """How many images a part really has: each class gives a whole number of them."""
    return sum(share_of(int(count), fraction) for count in np.bincount(source.splits["train"].labels) if count)
