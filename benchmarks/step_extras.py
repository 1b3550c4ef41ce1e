"""What do real data and the recipes' extras cost a training step of S/16 at 224?

    python benchmarks/step_extras.py [--rounds 4] [--each] [--images 600] [--cpu] [--json]

    memory      one batch that lies ready: nothing but the step
    shards      photographs packed by `vitrail pack --image-size 256`, a random part and a flip (target: 3 % more)
    extras      as shards, with RandAugment (2, 15), mixup 0.2, a moving average and clipping (target: 5 % more)

Each takes its turn in every round, eight steps long, of which the first four (their pictures were read while others
were measured) do not count; medians. `--each` adds every extra alone. `--cpu` counts the processor's seconds instead of
the clock's, decoding threads included: what is left to compare by on a machine that others use.
"""

from __future__ import annotations

import argparse
import itertools
import json
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from machine import machine
from shards import write_photographs
from train_step import CASES, CLASSES, trainer

from vitrail.data.augment import Augmentation
from vitrail.data.loader import Loader
from vitrail.data.mix import mixed
from vitrail.data.pack import pack
from vitrail.data.preprocess import Preprocess
from vitrail.data.source import Split, open_source
from vitrail.data.views import TrainView
from vitrail.vocabulary import Batch

TURN, UNCOUNTED = 8, 4
PLAIN = {"crop": "random-resized", "flip": 0.5}
RANDAUGMENT, MIXUP = {"randaugment": {"layers": 2, "magnitude": 15}}, {"mixup": 0.2}
AVERAGE, CLIP = {"average": 0.9999}, {"clip": 1.0}
EACH: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "RandAugment": (RANDAUGMENT, {}), "mixup": (MIXUP, {}), "average": ({}, AVERAGE), "clipping": ({}, CLIP)}
"""What of the augmentation, and what of the step."""


def batches(split: Split, augmentation: Augmentation) -> Iterator[Batch]:
    """As a run gets them."""
    view = TrainView(Preprocess(size=224), augmentation)
    size = CASES[0].batch
    return (mixed(batch, augmentation, classes=CLASSES, seed=0, batch_size=size)
            for batch in Loader(split, view, size, seed=0).batches())


def contestants(split: Split, each: bool) -> dict[str, Callable[[], None]]:
    case, plain = CASES[0], Augmentation.model_validate(PLAIN)
    asked = {"extras": (RANDAUGMENT | MIXUP, AVERAGE | CLIP), **(EACH if each else {})}
    steps = {"memory": trainer(case, itertools.repeat(next(batches(split, plain)))),
             "shards": trainer(case, batches(split, plain))}
    for name, (augmentation, step) in asked.items():
        steps[name] = trainer(case, batches(split, Augmentation.model_validate(PLAIN | augmentation)), **step)
    return steps


def medians(steps: dict[str, Callable[[], None]], rounds: int, clock: Callable[[], float]) -> dict[str, float]:
    """Seconds of a step of each, after one round to warm up."""
    taken: dict[str, list[float]] = {name: [] for name in steps}
    for number, (name, step) in itertools.product(range(rounds + 1), steps.items()):
        for place in range(TURN):
            start = clock()
            step()
            if number and place >= UNCOUNTED:
                taken[name].append(clock() - start)
    return {name: statistics.median(seconds) for name, seconds in taken.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=4)
    parser.add_argument("--images", type=int, default=600)
    parser.add_argument("--each", action="store_true")
    parser.add_argument("--cpu", action="store_true", help="processor seconds instead of the clock's")
    parser.add_argument("--json", action="store_true")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as place:
        home = Path(place)
        write_photographs(home / "photos", asked.images)
        pack(open_source(str(home / "photos"), validation=0), home / "packed", image_size=256)
        split = open_source(f"shards:{home}/packed", validation=0, divide=False).splits["train"]
        seconds = medians(contestants(split, asked.each), asked.rounds,
                          time.process_time if asked.cpu else time.perf_counter)
    if asked.json:
        print(json.dumps({"machine": machine(), "seconds": seconds}))
        return
    print(f"{machine()}\n{CASES[0].words}; {'processor' if asked.cpu else 'wall-clock'} time\n")
    for name, one in seconds.items():
        beside = "memory" if name in ("memory", "shards") else "shards"
        print(f"{name:<12} {1000 * one:8.1f} ms   {100 * (one / seconds[beside] - 1):+6.1f} % of {beside}")


if __name__ == "__main__":
    main()
