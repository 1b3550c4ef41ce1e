"""`run`: from the first look at the images to the report, as a stream of events."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

import torch

from vitrail.briefing import understood
from vitrail.data.source import Source
from vitrail.data.split import write_manifest_csv
from vitrail.events import Event
from vitrail.files import write_json
from vitrail.recipe import Recipe, read_recipe
from vitrail.run.ending import conclude
from vitrail.run.folder import MANIFEST_CSV, RECIPE, claim
from vitrail.run.looks import ignore
from vitrail.run.training import train
from vitrail.training.allocator import keep_freed_memory
from vitrail.training.guard import Interrupts, sole_owner
from vitrail.training.journal import Journal, Unwritten
from vitrail.training.parallel import SOLO, World
from vitrail.workshop import Watch, circumstances, find_learning_rate, set_up


def run(recipe: Recipe, folder: Path, *, source: Source | None = None, resume: bool = False, dry_run: bool = False,
        allow_data_change: bool = False, strict: bool = False, find_rate: bool = False, page: bool = True,
        interrupts: Interrupts | None = None, watch: Watch | None = None, world: World = SOLO) -> Iterator[Event]:
    """Train as the recipe says into a new run folder, or go on in one with `resume`. Yields events, `Finished` last.

    A resumed run refuses data other than its own, unless `allow_data_change`; where its newest checkpoint is damaged
    it goes on from the one before, unless `strict`. With `dry_run` it ends after the first event and writes nothing.
    `find_rate` puts the learning rate of a range test into a new run's recipe. Without `page` no report is drawn. In a
    `world` of several processes all call this and get the events, and the first one writes. Raises UsageError where the
    folder holds another run, DataError, RunError or SaveError where training cannot go on.
    """
    first = world.first
    if first:
        claim(folder, resume)
    with sole_owner(folder) if first and not dry_run else contextlib.nullcontext(), same_threads_after():
        keep_freed_memory()
        source = source or recipe.data.open()
        interrupts = Interrupts() if interrupts is None else interrupts  # an Interrupts without a signal is false
        shop = set_up(recipe, source, folder, interrupts, watch or ignore, resume, allow_data_change, strict, world)
        if find_rate and not resume and not interrupts:
            find_learning_rate(shop)
        yield understood(shop)
        if dry_run:
            return
        if first and (not resume or read_recipe(folder / RECIPE) != shop.recipe):  # a longer one, when it goes on
            write_json(folder / RECIPE, shop.recipe.model_dump(mode="json"))
        if first and (not resume or allow_data_change or not (folder / MANIFEST_CSV).exists()):
            write_manifest_csv(source, folder / MANIFEST_CSV)  # also where a kill came before it was there
        journal = Journal(folder, upto_step=shop.step if resume else None) if first else Unwritten()
        journal.write({"step": shop.step, "samples": shop.samples, **circumstances(shop), "data": source.fingerprint})
        yield from train(shop, journal)
        yield from conclude(shop, journal, page)


@contextlib.contextmanager
def same_threads_after() -> Iterator[None]:
    """A run may compute with fewer threads; the process gets its number back."""
    threads = torch.get_num_threads()
    try:
        yield
    finally:
        torch.set_num_threads(threads)
