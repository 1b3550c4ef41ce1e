"""For how long does a checkpoint stop training? The target is less than one step.

    python benchmarks/checkpoint.py [--models S/16 Ti/4] [--rounds 5]

A run of its own recipe (AdamW, moving average). `blocked`: from the end of one step to the beginning of the next, where
the state is copied. `beside`: how much longer the next step takes while the copy is hashed and written by a thread.
"""

from __future__ import annotations

import argparse
import shutil
import statistics
import tempfile
import time
from contextlib import closing
from pathlib import Path

from machine import machine

from vitrail.data.source import open_source
from vitrail.recipe import Recipe
from vitrail.recipes import RECIPES
from vitrail.run.looks import ignore
from vitrail.run.training import taken
from vitrail.training.guard import Interrupts
from vitrail.training.loop import steps
from vitrail.training.saving import Saver
from vitrail.workshop import Workshop, prepared, set_up

CASES = {"S/16": (224, 32), "Ti/4": (28, 128)}
"""Pixels a side, and images in a batch."""


def main() -> None:
    parser = argparse.ArgumentParser(description=str(__doc__).splitlines()[0])
    parser.add_argument("--models", nargs="+", choices=CASES, default=list(CASES))
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    print(f"{machine()}\n\n| model | parameters | step | blocked | of a step | next step beside the writing |")
    print("|---|---|---|---|---|---|")
    for name in options.models:
        source = open_source("fashion")
        size, batch = CASES[name]
        recipe = RECIPES["default"](source, model=name, image_size=(size, size)).replaced(
            {"training.batch_size": batch, "training.average": 0.999, "schedule.steps": 10_000})
        with tempfile.TemporaryDirectory() as folder:
            measure(name, set_up(recipe, source, Path(folder), Interrupts(), ignore, False), options.rounds)


def measure(name: str, shop: Workshop, rounds: int) -> None:
    plain, blocked, beside = [], [], []
    recipe: Recipe = shop.recipe
    with closing(shop.loader.batches()) as batches, Saver(shop.folder / "checkpoints") as saver:
        stream = steps(shop.learner, (prepared(shop, batch) for batch in batches), shop.weights, shop.optimizer,
                       lambda step: 1e-4, clip=1.0, average=shop.average, seed=recipe.seed)
        next(stream)
        for _ in range(rounds):
            plain.append(seconds_of(lambda: next(stream)))
            shop.step += 1
            blocked.append(seconds_of(lambda: saver.save(taken(shop))))
            beside.append(seconds_of(lambda: next(stream)))
            saver.wait()
            assert not saver.troubles()
            shutil.rmtree(shop.folder / "checkpoints")
    step, stop, next_ = map(statistics.median, (plain, blocked, beside))
    count = sum(master.numel() for master in shop.weights.masters)
    print(f"| {name} | {count / 1e6:.1f} M | {1e3 * step:,.0f} ms | {1e3 * stop:,.0f} ms | {stop / step:.0%} "
          f"| {next_ / step - 1:+.0%} |")


def seconds_of(work: object) -> float:
    start = time.perf_counter()
    work()  # type: ignore[operator]
    return time.perf_counter() - start


if __name__ == "__main__":
    main()
