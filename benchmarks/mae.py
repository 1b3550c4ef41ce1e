"""What does a masked autoencoder's step cost beside one of masked patch prediction, which computes every patch?

    python benchmarks/mae.py [--model B/16] [--batch 32] [--rounds 7] [--cpu] [--json]

B/16 at 224 pixels, three quarters of the patches masked, a decoder of 4 layers, 384 wide; forward, backward and AdamW
through the product's own step, in turn, medians. Targets: at least 80 % of the ratio of multiply-adds, and at least
twice as fast. With small batches AdamW, which is the same for both, has a large part of a step. `--cpu` counts the
processor's seconds instead of the clock's, for a machine that others use.
"""

from __future__ import annotations

import argparse
import itertools
import json
import statistics
import time
from collections.abc import Callable
from typing import Any

import torch
from machine import machine
from train_step import Case, trainer

from vitrail.models import create
from vitrail.objectives import MaeSettings, MaskedAutoencoder, MaskedPatch
from vitrail.objectives.mae_decoder import DecoderSettings
from vitrail.vocabulary import Batch

DECODER = DecoderSettings(width=384, depth=4, heads=12)
OBJECTIVES: dict[str, Callable[[Any, Any], Any]] = {
    "masked-patch": MaskedPatch,
    "mae": lambda model, normalize: MaskedAutoencoder(model, normalize, MaeSettings(decoder=DECODER))}
OF_MACS, FASTER = 0.8, 2.0


def macs(case: Case) -> dict[str, int]:
    """Of one image, forward."""
    return {name: learn(create(case.name, classes=0, image_size=case.image_size), torch.Tensor.float).macs()
            for name, learn in OBJECTIVES.items()}


def medians(case: Case, rounds: int, clock: Callable[[], float]) -> dict[str, float]:
    """Seconds of a step of each, the objectives in turn, after two rounds to warm up."""
    raw = torch.randint(0, 256, (case.batch, 3, case.image_size, case.image_size), dtype=torch.uint8)
    places = torch.arange(case.batch)
    batch = Batch({"image": raw}, torch.zeros(case.batch, dtype=torch.int64), places, places)
    steps = {name: trainer(case, itertools.repeat(batch), learn=learn) for name, learn in OBJECTIVES.items()}
    taken: dict[str, list[float]] = {name: [] for name in steps}
    for number, (name, step) in itertools.product(range(rounds + 2), steps.items()):
        start = clock()
        step()
        if number >= 2:
            taken[name].append(clock() - start)
    return {name: statistics.median(seconds) for name, seconds in taken.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="B/16")
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--cpu", action="store_true", help="processor seconds instead of the clock's")
    parser.add_argument("--json", action="store_true")
    asked = parser.parse_args()
    case = Case(f"{asked.model}, 224 px, batch {asked.batch}", asked.model, {}, 224, asked.batch, 1,
                (None, None, None))
    needed = macs(case)
    seconds = medians(case, asked.rounds, time.process_time if asked.cpu else time.perf_counter)
    faster, fewer = (one["masked-patch"] / one["mae"] for one in (seconds, needed))
    if asked.json:
        print(json.dumps({"machine": machine(), "case": case.words, "seconds": seconds, "macs": needed,
                          "faster": faster, "fewer_macs": fewer}))
        return
    print(f"{machine()}\n{case.words}; {'processor' if asked.cpu else 'wall-clock'} time\n")
    for name in OBJECTIVES:
        print(f"{name:<14} {1000 * seconds[name]:8.1f} ms   {needed[name] / 1e9:6.2f} G multiply-adds an image")
    print(f"\nmae is {faster:.2f}x as fast (target {FASTER:g}x) for {fewer:.2f}x fewer multiply-adds: "
          f"{faster / fewer:.0%} of that (target {OF_MACS:.0%})")


if __name__ == "__main__":
    main()
