"""What `train` and `demo` share: listen for signals first, then import what is heavy, then run and show."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import TYPE_CHECKING

from vitrail.training.guard import Interrupts

if TYPE_CHECKING:
    from vitrail.data.source import Source
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
    from vitrail.cli.console import RunView, conclude
    from vitrail.run import run
    from vitrail.training.parallel import SOLO

    world = world or SOLO
    view = RunView(quiet=quiet or not world.first)
    finished = view.show(run(recipe, folder, source=source, resume=resume, interrupts=interrupts, watch=view.watch,
                             dry_run=dry_run, allow_data_change=allow_data_change, strict=strict, find_rate=find_rate,
                             world=world))
    if finished is None or not world.first:
        return interrupts.exit_code
    return conclude(finished, again=f"vitrail train --resume --out {shlex.quote(str(folder))}")
