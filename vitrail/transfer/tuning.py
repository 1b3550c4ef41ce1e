"""Fine-tuning as a probe: the whole model goes on learning, in a run folder of its own for each draw of images."""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from vitrail.bundle import Bundle
from vitrail.data.source import Source
from vitrail.errors import BundleError, UnknownNameError, UsageError
from vitrail.events import Finished, Stepped
from vitrail.recipe import Recipe
from vitrail.recipes import finetune, paper_finetune
from vitrail.run import RECIPE, run
from vitrail.training.guard import Interrupts
from vitrail.transfer.task import Task
from vitrail.vocabulary import Progress

RECIPES = {"finetune": finetune.choose, "paper_finetune": paper_finetune.choose}
RUNS = Path("runs") / "probe"


@dataclass(frozen=True)
class Tuning:
    """`weights`: the file or folder to start from. `images`: how many training images, each number a row of the table;
    None for as many as the other methods have. `steps`: those of the recipe without."""

    weights: str
    recipe: str = "finetune"
    images: tuple[int, ...] = ()
    steps: int | None = None
    runs: Path = RUNS

    @property
    def counts(self) -> tuple[int | None, ...]:
        return self.images or (None,)


def checked(tuning: Tuning) -> Tuning:
    """Raises UsageError and UnknownNameError for what cannot be asked."""
    if tuning.recipe not in RECIPES:
        raise UnknownNameError("recipe", tuning.recipe, RECIPES)
    wrong = [number for number in (*tuning.images, 1 if tuning.steps is None else tuning.steps) if number < 1]
    if wrong:
        raise UsageError(f"images and steps of fine-tuning: {wrong[0]} was given; whole numbers from 1 on are "
                         "possible.")
    return replace(tuning, images=tuple(sorted(set(tuning.images))))


def tuned_accuracy(tuning: Tuning, task: Task, rows: np.ndarray, seed: int, size: tuple[int, int],
                   watch: Callable[[str, Progress], None] | None) -> float:
    """Of the model after fine-tuning on these rows of train, from its run folder where that has come to its end.

    A run that was stopped goes on. Raises KeyboardInterrupt where a signal stops this one, which then goes on when it
    is asked for again.
    """
    part = part_of(task, rows, seed)
    recipe = recipe_of(tuning, part, seed, size)
    folder = folder_of(tuning, task, recipe, len(rows), seed)
    known = finished(folder, recipe)
    if known is not None:
        return known
    doing = f"fine-tuning on {len(rows):,} images of {task.spec}, seed {seed}"
    with Interrupts("this fine-tuning is saved, and the same command goes on with it").listen() as interrupts:
        for event in run(recipe, folder, source=part, resume=(folder / RECIPE).exists(), interrupts=interrupts):
            if isinstance(event, Stepped) and watch is not None:
                watch(doing, event.progress)
            if isinstance(event, Finished) and event.signal is not None:
                raise KeyboardInterrupt(event.signal)
    known = finished(folder, recipe)
    if known is None:
        raise BundleError(f"{folder} was trained but not measured. Remove it and ask again: rm -r "
                          f"{shlex.quote(str(folder))}")
    return known


def part_of(task: Task, rows: np.ndarray, seed: int) -> Source:
    """These training images alone, and all of the test."""
    splits = {"train": task.train_split.subset(rows), "test": task.test_split}
    whole = len(rows) == len(task.train_split)
    drawn = "" if whole else f" {len(rows)} drawn by {seed}"
    return replace(task.source, splits=splits, warnings=(), fingerprint=f"{task.source.fingerprint}{drawn}")


def recipe_of(tuning: Tuning, part: Source, seed: int, size: tuple[int, int]) -> Recipe:
    """At the size that the features are measured at, so that both can be compared."""
    recipe = RECIPES[tuning.recipe](part, weights=tuning.weights, image_size=size, seed=seed)
    changes: dict[str, Any] = {"data.validation": 0.0}
    if tuning.steps is not None:
        warmup = recipe.schedule.warmup
        changes |= {"schedule.steps": tuning.steps, "schedule.warmup": min(warmup, max(1, tuning.steps // 10))}
    return recipe.replaced(changes)


def folder_of(tuning: Tuning, task: Task, recipe: Recipe, images: int, seed: int) -> Path:
    """One for each recipe (the weights are a part of it), data and draw: what is asked again is found again."""
    data = re.sub(r"\W+", "-", task.spec).strip("-")[-60:] or "data"
    length = recipe.schedule.steps or f"{recipe.schedule.epochs:g}"
    return tuning.runs / f"{data}-{task.source.fingerprint[:8]}" / (
        f"{images}-{length}-{seed}-{recipe.identity()[:12]}")


def finished(folder: Path, recipe: Recipe) -> float | None:
    """The accuracy in the Bundle's history; None where the run has not come to its end."""
    try:
        told = Bundle.load(folder / "bundle").provenance if (folder / "bundle").exists() else {}
    except BundleError:
        return None
    found = told.get("evaluation")
    ended = told.get("recipe", {}).get("schedule") == recipe.schedule.model_dump(mode="json")
    return float(found["top1"]) if found and ended else None
