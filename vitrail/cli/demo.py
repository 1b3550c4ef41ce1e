"""vitrail demo"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from vitrail.cli.numbers import Whole
from vitrail.cli.running import next_folder, train_and_show
from vitrail.training.guard import Interrupts


def demo(*, out: Annotated[Path | None, Parameter(alias="-o")] = None, seed: Whole = 0,
         quiet: Annotated[bool, Parameter(alias="-q", negative=())] = False) -> int:
    """Train a small Vision Transformer on 6,000 images that come with the package, and look at it.

        vitrail demo

        vitrail demo --out look --seed 1

    Parameters
    ----------
    out
        Run folder to make; `runs/demo-N` without.
    seed
        Decides weights, order and augmentation.
    quiet
        Say nothing but the result.
    """
    with Interrupts().listen() as interrupts:
        from vitrail.data.source import open_source
        from vitrail.recipes import RECIPES
        from vitrail.recipes.demo import SOURCE

        source = open_source(SOURCE, validation=0.0)
        recipe = RECIPES["demo"](source, seed=seed)
        return train_and_show(recipe, out or next_folder("demo"), source, interrupts, quiet=quiet)
