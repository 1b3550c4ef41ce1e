"""`vitrail train --lr search`: the learning rate as the paper chooses it for fine-tuning (section 4.1, Table 4).

A dev split is carved from the training images; each rate of a grid trains on the rest, in a run folder of its own; the
best on dev then trains on all training images.

    RUN/rates/search.json    the recipe to be given a rate, and what came of the rates that are done
             /0.003/         the run of one rate; its checkpoints go when it is done

A search that was stopped or killed goes on in the middle of a rate; one that is done is not trained again.
"""

from __future__ import annotations

import hashlib
import json
import shlex
import shutil
from collections.abc import Generator, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import BaseModel, ConfigDict, PositiveInt, ValidationError

from vitrail.data.source import Source
from vitrail.data.split import carve_validation
from vitrail.errors import DivergedError, RunError, UsageError
from vitrail.events import Event, Finished, Noted, Stepped
from vitrail.files import write_json
from vitrail.recipe import Recipe
from vitrail.run import RATES, RECIPE, run
from vitrail.training.guard import Interrupts
from vitrail.workshop import Watch

SEARCH = "search.json"

DEV_SHARES = ((10_000, 0.1), (500_000, 0.02))
"""Up to so many images: the share that is dev. The paper: 10 % of Pets and Flowers, 2 % of CIFAR."""
LEAST_SHARE = 0.01
"""Of ImageNet."""

FACTORS = (0.1, 0.3, 1.0, 3.0)
"""Of the recipe's rate. For paper_finetune that is Table 4's 0.001, 0.003, 0.01 and 0.03."""
IMAGENET_GRID = (0.003, 0.01, 0.03, 0.06)


class Tried(BaseModel):
    """What came of one rate on the dev images: its score and loss, or that it diverged."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    rate: float
    score: float | None
    loss: float | None = None


class Search(BaseModel):
    """`steps`: length of each trial; None: that of the whole run."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    recipe: Recipe
    grid: tuple[float, ...]
    steps: PositiveInt | None = None
    dev: int
    data: str
    tried: tuple[Tried, ...] = ()


def begin(recipe: Recipe, source: Source, folder: Path, steps: int | None = None) -> None:
    """Write down what is to be searched. Raises UsageError where the folder holds something, no image can be dev,
    or no label is learned."""
    if folder.exists() and any(entry.name != ".lock" for entry in folder.iterdir()):
        raise UsageError(f"{folder} is not empty. Choose another --out, or go on with what it holds by --resume.")
    if not recipe.objective.labeled:
        raise UsageError("--lr search compares runs by their accuracy, and without labels there is none. Use --lr "
                         "auto, or a number.")
    dev = dev_source(source, recipe.seed).splits["val"]
    write_json(folder / RATES / SEARCH, Search(
        recipe=recipe, grid=grid(recipe, len(source.splits["train"])), steps=steps, dev=len(dev),
        data=source.fingerprint).model_dump(mode="json"))


def under_way(folder: Path) -> bool:
    """True where a rate has been asked for and the run itself has not begun."""
    return (folder / RATES / SEARCH).exists() and not (folder / RECIPE).exists()


def search(folder: Path, source: Source | None, interrupts: Interrupts, watch: Watch | None = None) -> Iterator[Event]:
    """Try the rates that are left, then run with the best. Yields events of all runs, `Finished` last unless a signal
    came before. Raises RunError where the data have changed or every rate diverges."""
    found = read_search(folder)
    source = source or found.recipe.data.open()
    if source.fingerprint != found.data:
        raise RunError(f"{source.spec} is not what it was when this search began. Bring the old data back, or start "
                       "again with another --out.")
    held = dev_source(source, found.recipe.seed)
    for number, rate in enumerate(found.grid, start=1):
        if any(one.rate == rate for one in found.tried):
            continue
        yield Noted(f"learning rate {rate:g}, {number} of {len(found.grid)}: measured on {found.dev:,} images that are "
                    "set apart from the training images")
        tried = yield from attempt(found, rate, folder, held, interrupts, watch)
        if tried is None:
            yield Noted("stopped while looking for the learning rate; next: vitrail train --resume --out "
                        f"{shlex.quote(str(folder))}")
            return
        found = found.model_copy(update={"tried": (*found.tried, tried)})
        write_json(folder / RATES / SEARCH, found.model_dump(mode="json"))
        shutil.rmtree(folder / RATES / f"{rate:g}" / "checkpoints", ignore_errors=True)
    yield from run(with_best(found), folder, source=source, interrupts=interrupts, watch=watch)


def attempt(found: Search, rate: float, folder: Path, source: Source, interrupts: Interrupts,
            watch: Watch | None) -> Generator[Event, None, Tried | None]:
    """Train with one rate; returns what came of it, or None where a signal came."""
    place = folder / RATES / f"{rate:g}"
    events = run(trial(found, rate), place, source=source, resume=(place / RECIPE).exists(), interrupts=interrupts,
                 watch=watch)
    try:
        for event in events:
            if isinstance(event, Stepped | Noted):
                yield event
            elif isinstance(event, Finished) and event.evaluation is not None and event.signal is None:
                value = event.evaluation
                score = value.top1 if value.top1 is not None else value.mean_average_precision
                return Tried(rate=rate, score=score, loss=value.loss)
    except DivergedError:
        yield Noted(f"learning rate {rate:g} diverges")
        return Tried(rate=rate, score=None)
    return None


def trial(found: Search, rate: float) -> Recipe:
    """The recipe of one rate: measured at its end alone."""
    changes: dict[str, Any] = {"optimizer.learning_rate": rate, "evaluation.every_epochs": 1e6,
                               "evaluation.keep": "last", "evaluation.probe_on": None,
                               "evaluation.probe_every": None}
    schedule = found.recipe.schedule
    if found.steps is not None:
        changes["schedule.steps"] = found.steps
        if schedule.warmup >= 1 and schedule.steps:  # the same share of the run
            changes["schedule.warmup"] = max(1.0, schedule.warmup * found.steps / schedule.steps)
    return found.recipe.replaced(changes)


def with_best(found: Search) -> Recipe:
    """The recipe with the rate that did best on dev: by score, then by loss. Raises RunError where none learned."""
    whole = [one for one in found.tried if one.score is not None]
    if not whole:
        raise RunError(f"Every learning rate of {', '.join(f'{rate:g}' for rate in found.grid)} diverges. Give a "
                       "lower one, with another --out: --lr 1e-5")
    best = max(whole, key=lambda one: (one.score, -(one.loss or 0.0)))
    recipe = found.recipe.replaced({"optimizer.learning_rate": best.rate})
    return recipe.model_copy(update={"reasons": recipe.reasons | {"optimizer": in_words(found, best)}})


def in_words(found: Search, best: Tried) -> str:
    """What the search saw, for the box and the recipe."""
    seen = ", ".join(f"{one.rate:g}: " + ("diverges" if one.score is None else f"{100 * one.score:.1f} %")
                     for one in found.tried)
    length = f" after {found.steps:,} steps" if found.steps else ""
    edge = ""
    if len(found.grid) > 1 and best.rate in (found.grid[0], found.grid[-1]):
        edge = f"; the {'lowest' if best.rate == found.grid[0] else 'highest'} of them, so one beyond may be better"
    return f"best on {found.dev:,} dev images set apart from train{length} ({seen}){edge}"


def grid(recipe: Recipe, images: int) -> tuple[float, ...]:
    if recipe.name == "paper_finetune" and images > DEV_SHARES[-1][0]:
        return IMAGENET_GRID
    return tuple(float(f"{factor * recipe.optimizer.learning_rate:.3g}") for factor in FACTORS)


def dev_source(source: Source, seed: int) -> Source:
    """The training images in two: train, and dev under the name of val. Nothing else is looked at. Raises UsageError
    where no class has an image to spare."""
    split = source.splits["train"]
    share = next((share for most, share in DEV_SHARES if len(split) <= most), LEAST_SHARE)
    chosen = carve_validation(split.names, split.labels, seed=seed, validation=share)
    if not chosen.any():
        raise UsageError(f"No class of {source.spec} has a training image to spare for a dev split. Give the learning "
                         "rate yourself: --lr 0.01")
    parts = {"train": split.subset(np.flatnonzero(~chosen)), "val": split.subset(np.flatnonzero(chosen))}
    print_of = hashlib.sha256(f"{source.fingerprint} dev {seed} {share}".encode()).hexdigest()
    return replace(source, splits=parts, fingerprint=print_of, warnings=())


def read_search(folder: Path) -> Search:
    path = folder / RATES / SEARCH
    try:
        return Search.model_validate(json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError, ValidationError) as error:
        raise RunError(f"{path} cannot be read, so the search cannot go on: {error}. Start again with another "
                       "--out.") from None
