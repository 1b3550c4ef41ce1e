"""How fast is one training step (forward, loss, backward, AdamW) against transformers and against the ceiling?

    python benchmarks/train_step.py [--rounds 7] [--json]

Every contestant is a process of its own; rounds are interleaved, medians are compared. The ceiling is the rate of
F.linear in bf16 at the shape of the MLP: 3 x forward multiply-adds x 2 operations an image. The peer gets torch's fused
AdamW and its default (scaled-dot-product) attention, eager. "torch's kernels" is vitrail without kernels of its own.
Where bf16 is slower than fp32, as on processors without instructions for it, the ceiling is that of fp32, and the peer
in bf16 does not take part: it would take minutes for a step.
"""

from __future__ import annotations

import argparse
import itertools
import json
import time
from collections.abc import Callable, Iterable
from functools import partial
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from contestants import race
from machine import machine

from vitrail.models import configure, create
from vitrail.models import describe as account_for
from vitrail.training.precision import DTYPES, Precision


class Case(NamedTuple):
    """`targets`: least ratio of our rate to others, on processors with AVX512-BF16."""

    words: str
    name: str
    settings: dict
    image_size: int
    batch: int
    steps: int
    targets: dict[str, float]


CASES = [
    Case("ViT-S/16, 224 px, batch 16", "S/16", {"feedforward": "gelu"}, 224, 16, 1,
         {"transformers bf16": 1.35, "transformers fp32": 3.8, "ceiling": 0.85}),
    Case("192 wide, 6 layers, 3 heads, patch 4, 28 px, batch 256", "Ti/4", {"depth": 6, "feedforward": "gelu"}, 28,
         256, 2, {"transformers bf16": 1.5}),
]
CLASSES = 1000


def ours(case: Case, native: bool = True) -> Callable[[], None]:
    from vitrail.vocabulary import Batch

    raw = torch.randint(0, 256, (case.batch, 3, case.image_size, case.image_size), dtype=torch.uint8)
    places = torch.arange(case.batch)
    batch = Batch({"image": raw}, torch.randint(0, CLASSES, (case.batch,)), places, places)
    return trainer(case, itertools.repeat(batch), native=native)


def trainer(case: Case, batches: Iterable[Any], clip: float | None = None, average: float | None = None,
            learn: Callable[[Any, Any], Any] | None = None, native: bool = True) -> Callable[[], None]:
    """The product's own path: objective, master weights, backend by measurement, fused AdamW. `learn`: the objective
    of a model and a way to normalize; classification without."""
    from vitrail.data.preprocess import Preprocess
    from vitrail.objectives import Classify
    from vitrail.training.allocator import keep_freed_memory
    from vitrail.training.average import Average
    from vitrail.training.backend import choose_backend, set_kernels
    from vitrail.training.loop import steps
    from vitrail.training.optimizer import OptimizerSettings, build_optimizer, kernel_names
    from vitrail.training.precision import Weights

    keep_freed_memory()
    model = create(case.name, classes=CLASSES, image_size=case.image_size, **case.settings)
    config = model.config
    objective = (learn or Classify)(model, Preprocess(size=case.image_size).normalize).train()
    backend = choose_backend(torch.device("cpu"), rows=case.batch * config.tokens, width=config.width, mlp=config.mlp,
                             batch=case.batch, heads=config.heads, tokens=config.tokens,
                             native_for=config.feedforward if native else None)
    set_kernels(objective, backend.attention)
    kernels = kernel_names(objective)
    weights = Weights(objective, backend.precision, native=backend.attention == "native")
    optimizer = build_optimizer(OptimizerSettings(clip=clip), weights.named_masters(), kernels, weights.rounded)
    stream = steps(objective, batches, weights, optimizer, lambda step: 1e-4, clip=clip,
                   average=None if average is None else Average(weights, average))
    return lambda: next(stream)


def peer(case: Case, bf16: bool) -> Callable[[], None]:
    from transformers import ViTConfig, ViTForImageClassification

    config = configure(case.name, classes=CLASSES, image_size=case.image_size, **case.settings)
    model = ViTForImageClassification(ViTConfig(
        hidden_size=config.width, num_hidden_layers=config.depth, num_attention_heads=config.heads,
        intermediate_size=config.mlp, image_size=case.image_size, patch_size=config.patch[0], num_labels=CLASSES,
        layer_norm_eps=1e-6)).train()
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-4, fused=True)
    images = torch.randn(case.batch, 3, case.image_size, case.image_size)
    labels = torch.randint(0, CLASSES, (case.batch,))

    def step() -> None:
        with torch.autocast("cpu", torch.bfloat16, enabled=bf16):
            logits = model(pixel_values=images).logits
        F.cross_entropy(logits.float(), labels).backward()
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)

    return step


def faster_type(case: Case) -> Precision:
    from vitrail.training.backend import choose_backend

    config = configure(case.name, **case.settings)
    return choose_backend(torch.device("cpu"), rows=2048, width=config.width, mlp=config.mlp, batch=1, heads=1,
                          tokens=1).precision


def ceiling(case: Case) -> Callable[[], None]:
    """As many products of the MLP's first layer as have the operations of one step."""
    config = configure(case.name, classes=CLASSES, image_size=case.image_size, **case.settings)
    rows = case.batch * config.tokens
    dtype = DTYPES[faster_type(case)]
    x, w = torch.randn(rows, config.width, dtype=dtype), torch.randn(config.mlp, config.width, dtype=dtype)
    times = 3 * account_for(config).macs * case.batch / (rows * config.width * config.mlp)

    def step() -> None:
        start = time.perf_counter()
        with torch.inference_mode():
            for _ in range(20):
                F.linear(x, w)
        step.seconds = (time.perf_counter() - start) / 20 * times  # type: ignore[attr-defined]

    return step


CONTESTANTS: dict[str, Callable[[Case], Callable[[], None]]] = {
    "vitrail": ours,
    "torch's kernels": lambda case: ours(case, native=False),
    "transformers bf16": lambda case: peer(case, True),
    "transformers fp32": lambda case: peer(case, False),
    "ceiling": ceiling,
}


def start(name: str, case: Case) -> Callable[[], float]:
    """A contestant's process: seconds of one step, out of some."""
    torch.manual_seed(0)
    step = CONTESTANTS[name](case)

    def work() -> float:
        begun = time.perf_counter()
        for _ in range(case.steps):
            step()
        return getattr(step, "seconds", (time.perf_counter() - begun) / case.steps)

    return work


def compare(case: Case, rounds: int) -> dict[str, float]:
    """Median images a second of each contestant, rounds interleaved."""
    names = [name for name in CONTESTANTS if faster_type(case) == "bf16" or name != "transformers bf16"]
    seconds = race({name: partial(start, name, case) for name in names}, rounds, warm_up=2)
    return {name: case.batch / each for name, each in seconds.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    results = []
    for case in CASES:
        rates = compare(case, options.rounds)
        mine = rates["vitrail"]
        ratios = {name: mine / rate for name, rate in rates.items() if name != "vitrail"}
        results.append({"case": case.words, "images_per_second": rates, "ratios": ratios})
        if not options.json:
            print(f"\n{case.words}: vitrail {mine:.1f} images/s")
            for name, ratio in ratios.items():
                wanted = f"  (target with bf16 {case.targets[name]:g}x)" if name in case.targets else ""
                print(f"  {ratio:5.2f}x {name:<18} {rates[name]:8.1f} images/s{wanted}")
    print(json.dumps({"machine": machine(), "cases": results}) if options.json else f"\n{machine()}")


if __name__ == "__main__":
    main()
