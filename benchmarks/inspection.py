"""What inspection costs: time beside plain forward passes, and the most memory that it holds.

    python benchmarks/inspection.py [--model L/16] [--size 384] [--images 128] [--batch 8] [--rounds 3]
                                    [--looks "attention distance" rollout health]

Each contestant looks at the same images in batches, in turn, in its own process, so that each has its own peak.
Targets: attention distance and rollout at most 1.6 times the time of the forward passes, with no more than one layer's
maps of one batch in memory: the table says how much that is.
"""

from __future__ import annotations

import argparse
import multiprocessing
import resource
import statistics
import time
from typing import Any

import torch
from machine import machine

from vitrail.bundle import Bundle
from vitrail.data.preprocess import Preprocess
from vitrail.inspection.attention_distance import attention_distance
from vitrail.inspection.health import health
from vitrail.inspection.lens import encoded, in_batches
from vitrail.inspection.rollout import rollout
from vitrail.models import ViT, create

MIB = 2**20


def main() -> None:
    parser = argparse.ArgumentParser(description=str(__doc__).splitlines()[0])
    parser.add_argument("--model", default="L/16")
    parser.add_argument("--size", type=int, default=384)
    parser.add_argument("--images", type=int, default=128)
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--looks", nargs="+", choices=LOOKS, default=LOOKS, help="beside forward")
    options = parser.parse_args()
    found: dict[str, list[tuple[float, float]]] = {name: [] for name in ("forward", *options.looks)}
    context = multiprocessing.get_context("spawn")
    for _ in range(options.rounds):
        for name in found:
            with context.Pool(1) as pool:
                found[name].append(pool.apply(measured, (name, vars(options))))
    model = create(options.model, image_size=options.size, classes=0)
    assert isinstance(model, ViT)
    maps = options.batch * model.config.heads * model.config.tokens**2 * 4 / MIB
    print(f"{machine()}\n\n{options.model} at {options.size}, {options.images} images in batches of {options.batch}; "
          f"one layer's maps of one batch are {maps:,.0f} MiB\n")
    print("| | seconds | of forward | peak MiB | beyond forward |\n|---|---|---|---|---|")
    base = [statistics.median(column) for column in zip(*found["forward"], strict=True)]
    for name, rounds in found.items():
        seconds, peak = (statistics.median(column) for column in zip(*rounds, strict=True))
        print(f"| {name} | {seconds:.1f} | {seconds / base[0]:.2f} | {peak:,.0f} | {peak - base[1]:,.0f} |")


def forward(bundle: Bundle, raw: torch.Tensor, batch: int) -> None:
    for part in in_batches(raw, batch):
        encoded(bundle, part)


LOOKS: dict[str, Any] = {
    "forward": forward, "attention distance": attention_distance, "rollout": rollout, "health": health}


def measured(name: str, options: dict[str, Any]) -> tuple[float, float]:
    """Seconds and the peak of the process in MiB, of one look in fp32."""
    size = options["size"]
    bundle = Bundle(create(options["model"], image_size=size, classes=0).eval(), Preprocess(size=(size, size)))
    raw = torch.randint(0, 256, (options["images"], 3, size, size), dtype=torch.uint8)
    forward(bundle, raw[: options["batch"]], options["batch"])
    start = time.perf_counter()
    LOOKS[name](bundle, raw, options["batch"])
    return time.perf_counter() - start, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


if __name__ == "__main__":
    main()
