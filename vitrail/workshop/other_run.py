"""The refusal to go on from a checkpoint of another run, with what differs in words."""

from __future__ import annotations

from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open

from vitrail.data.source import Source
from vitrail.errors import RunError, UsageError
from vitrail.models import build
from vitrail.recipe import Recipe, read_recipe
from vitrail.training.checkpoint import WEIGHTS, State
from vitrail.training.misfit import misfit

SHOWN = 6


def other_run(checkpoint: Path, state: State, recipe: Recipe, source: Source) -> RunError:
    """What to raise where a checkpoint is not of `recipe`: the recipe of its folder was changed by hand or on the
    command line, or it was put there from elsewhere."""
    try:
        changes = recipe.changed_from(read_recipe(checkpoint.parent.parent / "recipe.json"))
    except UsageError:
        changes = []
    if changes:
        more = f"; and {len(changes) - SHOWN} more" if len(changes) > SHOWN else ""
        return RunError(f"{checkpoint} belongs to a run with another recipe: {'; '.join(changes[:SHOWN])}{more}. "
                        "Resume with the recipe of that run, or choose another --out.")
    words = [*other_classes(state, source), *other_tensors(checkpoint, recipe, len(source.classes))]
    return RunError(f"{checkpoint} belongs to another run, which had another recipe than this one"
                    f"{': ' if words else ''}{'; '.join(words)}. Bring this run's own checkpoint back, or choose "
                    "another --out.")


def other_classes(state: State, source: Source) -> list[str]:
    if not state.classes or state.classes == source.classes:
        return []
    return [f"its classes are {', '.join(state.classes[:SHOWN])}{', ...' if len(state.classes) > SHOWN else ''} "
            f"({len(state.classes)}), here they are {', '.join(source.classes[:SHOWN])}"
            f"{', ...' if len(source.classes) > SHOWN else ''} ({len(source.classes)})"]


def other_tensors(checkpoint: Path, recipe: Recipe, classes: int) -> list[str]:
    """Nothing of a sharded one, whose tensors lie in pieces, and where the model is not all that learns."""
    if not recipe.objective.labeled:
        return []
    with torch.device("meta"):
        model = build(recipe.model.configure(classes, recipe.preprocess.size))
    here = {f"model.{name}": parameter.shape for name, parameter in model.named_parameters() if parameter.numel()}
    try:
        with safe_open(checkpoint / WEIGHTS, framework="pt") as file:
            there = {name: file.get_slice(name).get_shape() for name in file.keys()}  # noqa: SIM118
    except (SafetensorError, OSError):
        return []
    words = misfit(there, here)
    return [words] if words else []
