"""A model as it was at some checkpoint of its run."""

from __future__ import annotations

import csv
from pathlib import Path

from safetensors.torch import load_file

from vitrail.bundle import Activation, Bundle
from vitrail.errors import RunError
from vitrail.models import build
from vitrail.recipe import Recipe, read_recipe
from vitrail.run.folder import MANIFEST_CSV, RECIPE
from vitrail.training.checkpoint import AVERAGE, STATE, WEIGHTS, read_state, verify_checkpoint
from vitrail.training.sharded_checkpoint import is_sharded


def is_checkpoint(path: Path) -> bool:
    """Whether this is RUN/checkpoints/step-N."""
    return path.name.startswith("step-") and (path / STATE).is_file()


def bundle_at(path: Path) -> Bundle:
    """What the run's Bundle would have held then: the moving average where there is one.

    Raises BundleError where the checkpoint is damaged, RunError where it does not hold the whole model.
    """
    verify_checkpoint(path)
    run = path.resolve().parent.parent
    recipe, state = read_recipe(run / RECIPE), read_state(path)
    if is_sharded(path):
        raise RunError(f"{path} was written by several processes, each its part, and only a run puts it together. Look "
                       "at the Bundle of the run.")
    values = load_file(path / AVERAGE if (path / AVERAGE).exists() else path / WEIGHTS)
    own = {name.removeprefix("model."): value for name, value in values.items() if name.startswith("model.")}
    classes = state.classes if recipe.objective.labeled else ()
    model = build(recipe.model.configure(len(classes), recipe.preprocess.size)).eval()
    missing = [name for name, weight in model.named_parameters() if weight.numel() and name not in own]
    if missing:
        raise RunError(f"{path} holds only what learned in this run, not {missing[0]} and {len(missing) - 1} other "
                       "parts that stayed as they were. Look at the Bundle of the run.")
    model.load_state_dict(own, strict=False)
    return Bundle(model, recipe.preprocess, classes or None, activation_of(recipe, run, classes) if classes else "none",
                  {"recipe": recipe.model_dump(mode="json"), "step": state.step, "samples": state.samples})


def activation_of(recipe: Recipe, run: Path, classes: tuple[str, ...]) -> Activation:
    """Of the answers. Where the recipe leaves it to the images, their list in the run folder tells whether they have
    several labels: the images themselves may be gone."""
    if recipe.objective.loss != "auto":
        return recipe.objective.loss
    with open(run / MANIFEST_CSV, encoding="utf-8", newline="") as file:
        several = any(row["label"] not in classes for row in csv.DictReader(file))
    return "sigmoid" if several else "softmax"
