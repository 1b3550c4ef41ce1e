"""vitrail pretrain SOURCE"""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Annotated, Any, Literal

from cyclopts import Parameter

from vitrail.cli.run_options import RunOptions
from vitrail.cli.train import DEFAULTS, train
from vitrail.errors import UsageError


def pretrain(
    source: str | None = None, /, *,
    objective: Literal["masked-patch", "mae", "dino"] | None = None,
    target: Literal["mean-color", "downsized", "pixels"] | None = None,
    corrupted: float | None = None,
    masked: float | None = None,
    weights: Annotated[str | None, Parameter(alias="-w")] = None,
    recipe: Annotated[str, Parameter(alias="-r")] = "pretrain",
    lr: str | None = None,
    options: RunOptions = DEFAULTS,
) -> int:
    """Learn from images without labels. What comes out has no head: train it on your labels.

        vitrail pretrain photos/ --out first

        vitrail pretrain photos/ --objective mae

        vitrail pretrain photos/ --weights dinov2.safetensors --target pixels

        vitrail train labeled/ --weights first

    Parameters
    ----------
    source
        A folder of images, with class folders or without, or anything else that `vitrail train` takes.
    objective
        masked-patch: guess patches whose embeddings were corrupted. mae: guess patches that the model does not compute
        at all, which costs a fraction of the time (masked autoencoder). dino: say of one crop what the model's own
        average says of another, which costs a multiple of the time (self-distillation).
    target
        What masked-patch guesses of a patch: mean-color (3 bits a channel), downsized (the same at 4x4) or pixels.
    corrupted
        Share of the patches that masked-patch corrupts and guesses; 0.5 without.
    masked
        Share of the patches that mae leaves out and guesses; 0.75 without.
    weights
        Trained weights to go on from, in any format that vitrail reads.
    recipe
        pretrain, paper_masked_patch, or a recipe.json.
    lr
        Learning rate; auto finds it by a range test of 100 steps, on weights that are put back.
    """
    given = {"objective.name": objective, "objective.masked_patch.target": target,
             "objective.masked_patch.corrupted": corrupted, "objective.mae.masked": masked}
    refuse_foreign(objective, {"--target": target, "--corrupted": corrupted}, {"--masked": masked}, recipe)
    pairs = tuple(f"{name}={json.dumps(value)}" for name, value in given.items() if value is not None)
    if options.resume and pairs:
        raise UsageError("A resumed run keeps what it guesses. Leave out --objective, --target, --corrupted and "
                         "--masked, or start a new run with another --out.")
    goes_on = options.resume or options.resume_or_start
    if source is None and recipe in ("pretrain", "paper_masked_patch") and not goes_on:
        raise UsageError("Nothing to learn from. Give a folder of images, with labels or without: vitrail pretrain "
                         "photos/")
    refuse_recipes_with_labels(recipe)
    if options.resume and recipe == "pretrain":
        recipe = "default"  # nothing was asked for
    try:
        return train(source, weights=weights, recipe=recipe, lr=lr,
                     options=replace(options, set_=(*pairs, *options.set_)))
    except UsageError as error:
        raise as_typed(error, [name for name, value in given.items() if value is not None]) from None


def as_typed(error: UsageError, given: list[str]) -> UsageError:
    """What is wrong with a setting, by the name of the option where that was typed."""
    words = str(error)
    for name in given:
        if words.startswith(f"Recipe: {name}:"):
            return UsageError(words.replace(f"Recipe: {name}:", f"--{name.rsplit('.', 1)[1]}:", 1))
    return error


def refuse_foreign(objective: str | None, of_masked_patch: dict[str, Any], of_mae: dict[str, Any], recipe: str) -> None:
    """Raises UsageError for an option of an objective that is not learned. What a recipe.json learns is in the file."""
    if objective is None and recipe.endswith(".json"):
        return
    chosen = objective or "masked-patch"
    for owner, options in (("masked-patch", of_masked_patch), ("mae", of_mae)):
        for option, value in options.items():
            if value is not None and owner != chosen:
                raise UsageError(f"{option} is an option of {owner}, and this run learns {chosen}. Leave it out, or "
                                 f"use --objective {owner}.")


def refuse_recipes_with_labels(recipe: str) -> None:
    """Raises UsageError for a recipe that learns labels. A file may say anything."""
    if recipe.endswith(".json") or "/" in recipe:
        return
    from vitrail.recipes import RECIPES, WITHOUT_LABELS

    if recipe in RECIPES and recipe not in WITHOUT_LABELS:
        raise UsageError(f"The recipe {recipe} learns labels. Without labels there are {' and '.join(WITHOUT_LABELS)}; "
                         f"with labels: vitrail train --recipe {recipe}")
