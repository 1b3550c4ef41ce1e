"""What `train` and `demo` share: listen for signals first, then import what is heavy, then run and show."""

from __future__ import annotations

import shlex
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from vitrail.training.guard import Interrupts

if TYPE_CHECKING:
    from vitrail.cli.console import RunView
    from vitrail.data.source import Source
    from vitrail.events import Event
    from vitrail.recipe import Recipe
    from vitrail.training.parallel import World


def next_folder(word: str, parent: Path = Path("runs")) -> Path:
    """`runs/WORD-1`, or the next number that is free."""
    number = 1
    while (parent / f"{word}-{number}").exists():
        number += 1
    return parent / f"{word}-{number}"


def train_and_show(recipe: Recipe, folder: Path, source: Source | None, interrupts: Interrupts, *,
                   resume: bool = False, dry_run: bool = False, quiet: bool = False,
                   allow_data_change: bool = False, strict: bool = False, find_rate: bool = False,
                   world: World | None = None) -> int:
    """Run the recipe to its end or to a signal; returns the exit code."""
    from vitrail.cli.console import RunView
    from vitrail.run import run
    from vitrail.training.parallel import SOLO

    world = world or SOLO
    view = RunView(quiet=quiet or not world.first)
    return to_the_end(view, run(recipe, folder, source=source, resume=resume, interrupts=interrupts, watch=view.watch,
                                dry_run=dry_run, allow_data_change=allow_data_change, strict=strict,
                                find_rate=find_rate, world=world), interrupts, folder, world)


def search_and_show(folder: Path, source: Source | None, interrupts: Interrupts, *, quiet: bool = False) -> int:
    """Look for the learning rate, or go on looking, and then run with it; returns the exit code."""
    from vitrail.cli.console import RunView
    from vitrail.rate_search import search
    from vitrail.training.parallel import SOLO

    view = RunView(quiet=quiet)
    return to_the_end(view, search(folder, source, interrupts, view.watch), interrupts, folder, SOLO)


def to_the_end(view: RunView, events: Iterable[Event], interrupts: Interrupts, folder: Path, world: World) -> int:
    from vitrail.cli.console import conclude

    finished = view.show(events)
    if finished is None or not world.first:
        return interrupts.exit_code
    verb = "train" if finished.bundle.classes else "pretrain"
    again = f"vitrail {verb} --resume --out {shlex.quote(str(folder))}"
    return conclude(finished, again + (f" --devices {world.size}" if world.size == world.local_size > 1 else ""))
