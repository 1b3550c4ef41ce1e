"""How good is a model that learns without labels? Its own loss on a split, and pictures of what it guesses."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Generator, Iterator
from contextlib import closing

import numpy as np
import torch

from vitrail.data.loader import looked_through
from vitrail.data.source import Split
from vitrail.data.views import EvalView, View
from vitrail.errors import DataError
from vitrail.models.families import build_with
from vitrail.objectives import Objective
from vitrail.training.adapters import merged
from vitrail.training.backend import set_kernels
from vitrail.training.compiled import eagerly
from vitrail.training.precision import DTYPES
from vitrail.vocabulary import Batch, Progress, Shown
from vitrail.workshop import Workshop, build_objective, trained_state

SHOWN = 6
"""Pictures of which guesses are shown."""


@contextlib.contextmanager
def as_it_is_now(shop: Workshop) -> Iterator[Objective]:
    """The objective for a look during training, with the average where there is one that is no teacher (collective).
    Random numbers that it draws depend on the images alone, so that looks can be compared."""
    objective = shop.objective
    if shop.weights.sharded or (shop.average is not None and objective.follower() is None):
        objective = copied(shop)
    objective.eval()
    objective.begin_step(shop.progress)
    try:
        with torch.no_grad(), eagerly(shop.recipe.training.compile):
            yield objective
    finally:
        shop.objective.train()


def copied(shop: Workshop) -> Objective:
    """A whole objective of its own with the trained values (collective)."""
    model = build_with(shop.config, trained_state(shop)).to(shop.device)
    objective = build_objective(shop.recipe, model, shop.source, shop.backend, shop.device)
    averaged = shop.average is not None and shop.objective.follower() is None
    values = shop.weights.export(shop.objective, shop.average.values if averaged and shop.average else None)
    objective.load_state_dict(merged(values, shop.recipe.training.adapters.scale), strict=False)
    for name, value in shop.objective.memory().items():
        objective.memory()[name].copy_(value)
    set_kernels(objective, shop.backend.attention)
    return objective.to(DTYPES[shop.backend.precision])


def own_loss(shop: Workshop, split: str) -> tuple[float, int] | None:
    """The mean loss over the images of a split, and how many could be read: every process takes a part of them. None
    where a signal asks one of them to stop (collective)."""
    world, images = shop.world, shop.source.splits[split]
    part = np.array_split(np.arange(len(images)), world.size)[world.rank]
    total, count, stopped = 0.0, 0, False
    with as_it_is_now(shop) as objective:
        began = time.perf_counter()
        view = shop.loader.view if "image" not in objective.views else EvalView(shop.recipe.preprocess)
        with closing(batches(shop, images, part, view)) as stream:
            for batch in stream:
                total += float(objective(batch).total) * len(batch.indices)
                count += len(batch.indices)
                shop.watch(split, Progress(count, len(part), count / max(time.perf_counter() - began, 1e-9)))
                if shop.interrupts or shop.interrupts.received:
                    stopped = True
                    break
    shop.heed()
    parts = world.gathered((total, count, stopped))
    if any(one[2] for one in parts):
        return None
    read = sum(one[1] for one in parts)
    if not read:
        raise DataError(f"None of the {len(images)} images of {split} can be read.")
    return sum(one[0] for one in parts) / read, read


def batches(shop: Workshop, images: Split, part: np.ndarray, view: View) -> Generator[Batch, None, None]:
    """Images of a split, at positions that are their places in it, by which the view draws too."""
    if not len(part):
        return
    for views, places, _ in looked_through(images, view, shop.recipe.evaluation.batch_size, seed=shop.recipe.seed,
                                           samples=part.tolist()):
        if len(places):
            yield Batch({name: view.to(shop.device) for name, view in views.items()},
                        torch.zeros(len(places), dtype=torch.int64), places, places)


def guesses(shop: Workshop) -> list[Shown]:
    """Of the first images that are held out, or trained on where none is (collective)."""
    name = next(name for name in ("val", "test", "train") if name in shop.source.splits)
    images, plain = shop.source.splits[name], EvalView(shop.recipe.preprocess)
    some = np.arange(min(SHOWN, len(images)))
    with as_it_is_now(shop) as objective, closing(batches(shop, images, some, plain)) as stream:
        return [one for batch in stream for one in objective.shown(batch)]
