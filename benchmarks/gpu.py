"""Which fraction of a GPU's arithmetic do training and inference use?

    python benchmarks/gpu.py [--models S/16 B/16 L/16] [--image-size 224] [--batch 256] [--steps 20] [--json]
    python benchmarks/gpu.py --device cpu --models Ti/16 --batch 2 --steps 1          # the arithmetic, without a GPU

First the rate of a lone bf16 matrix product is measured; then images a second, eager and compiled, through the
product's own step (Workshop, steps: pinned batches are copied while they are awaited, fused AdamW) and through
Bundle.scores in bf16. Used: 6 x multiply-adds x images a second in training, 2 x in inference, as a fraction of the
rate. Targets for L/16 at 224: 50 % in training, 60 % in inference.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

TRAINING, INFERENCE = 6, 2
"""Operations for each multiply-add of a forward pass: backward costs twice as much as forward."""

CLASSES, HELD = 1000, 4
WARM = 3


def parsed() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", nargs="+", default=["S/16", "B/16", "L/16"])
    parser.add_argument("--image-size", type=int, default=224)
    parser.add_argument("--batch", type=int, default=256)
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--product", type=int, default=8192, help="rows and columns of the lone matrix product")
    parser.add_argument("--device", choices=("cuda", "cpu"), default="cuda")
    parser.add_argument("--eager", action="store_true", help="leave out what is compiled")
    parser.add_argument("--json", action="store_true")
    return parser.parse_args()


def main() -> None:
    asked = parsed()
    if asked.device == "cpu":
        os.environ["CUDA_VISIBLE_DEVICES"] = ""
    import torch
    from machine import machine

    if asked.device == "cuda" and not torch.cuda.is_available():
        sys.exit("There is no CUDA device here, so nothing was measured. The arithmetic can be tried without one: "
                 "python benchmarks/gpu.py --device cpu --models Ti/16 --batch 2 --steps 1 --product 512")
    device = torch.device(asked.device)
    rate = product_rate(device, asked.product)
    rows = []
    if not asked.json:
        print(f"{machine()}\nlone matrix product, bf16: {rate / 1e12:.3g} TFLOP/s")
    for name, compiled in itertools.product(asked.models, (False,) if asked.eager else (False, True)):
        rows.append(measured(name, compiled, device, asked, rate))
        if not asked.json:
            show(rows[-1])
    if asked.json:
        print(json.dumps({"machine": machine(), "product_flops": rate, "rows": rows}))


def used(macs: int, images_per_second: float, operations: int, rate: float) -> float:
    """The fraction of `rate`, in floating-point operations a second."""
    return operations * macs * images_per_second / rate


def product_rate(device: Any, size: int, repeats: int = 10) -> float:
    """Floating-point operations a second of one square bf16 matrix product; the median over repeats."""
    import torch

    left, right = (torch.randn(size, size, device=device, dtype=torch.bfloat16) for _ in range(2))
    seconds = timed(lambda: left @ right, device, repeats)
    return 2 * size**3 / seconds


def timed(work: Callable[[], object], device: Any, repeats: int) -> float:
    """Median seconds, after a few to warm up."""
    from vitrail.training.forecast import synchronize

    taken = []
    for _ in range(WARM + repeats):
        start = time.perf_counter()
        work()
        synchronize(device)
        taken.append(time.perf_counter() - start)
    return statistics.median(taken[WARM:])


def measured(name: str, compiled: bool, device: Any, asked: argparse.Namespace, rate: float) -> dict[str, Any]:
    """Images a second and the fraction of the rate, for training and inference of one model."""
    import torch

    from vitrail.evaluation.answers import computing
    from vitrail.models import describe
    from vitrail.training.forecast import peak_bytes
    from vitrail.workshop import trained_bundle

    with tempfile.TemporaryDirectory() as folder:
        shop = shop_for(name, compiled, asked.image_size, asked.batch, Path(folder))
    macs = describe(shop.config).macs
    stream = stepping(shop)
    training = asked.batch / timed(lambda: next(stream), device, asked.steps)
    peak = peak_bytes(device)
    bundle = trained_bundle(shop).to(device)
    if compiled:
        bundle.model.compile()
    raw = host_batches(asked.image_size, asked.batch)[0].views["image"].to(device)
    with torch.inference_mode(), computing(device, "bf16"):
        inference = asked.batch / timed(lambda: bundle.scores(raw), device, asked.steps)
    return {"model": name, "compiled": compiled, "macs": macs, "batch": asked.batch, "peak_bytes": peak,
            "training": {"images_per_second": training, "used": used(macs, training, TRAINING, rate)},
            "inference": {"images_per_second": inference, "used": used(macs, inference, INFERENCE, rate)}}


def shop_for(name: str, compiled: bool, image_size: int, batch: int, folder: Path) -> Any:
    """What a run of the model would begin with, on pictures of noise in memory."""
    import numpy as np

    from vitrail.data.preprocess import Preprocess
    from vitrail.data.source import Source, Split
    from vitrail.recipe import DataSettings, ModelSettings, Recipe, TrainingSettings
    from vitrail.training.guard import Interrupts
    from vitrail.training.schedule import Schedule
    from vitrail.workshop import set_up

    noise = np.random.default_rng(0).integers(0, 256, (image_size, image_size, 3), np.uint8)
    names, keys = [str(number) for number in range(2 * batch)], np.arange(2 * batch)
    split = Split(names, keys, keys % CLASSES, Same(noise))
    source = Source("noise", "noise in memory", tuple(map(str, range(CLASSES))), {"train": split}, "0" * 64)
    recipe = Recipe(data=DataSettings(source="noise"), model=ModelSettings(name=name),
                    preprocess=Preprocess(size=(image_size, image_size)), schedule=Schedule(steps=10**6),
                    training=TrainingSettings(batch_size=batch, precision="bf16"))
    if compiled:
        recipe = recipe.replaced({"training.compile": True})
    return set_up(recipe, source, folder, Interrupts(), lambda split, progress: None, resume=False)


class Same:
    """One picture under every name."""

    def __init__(self, picture: Any) -> None:
        self.picture = picture

    def read(self, key: int) -> Any:
        return self.picture


def stepping(shop: Any) -> Iterator[Any]:
    """The product's training steps, each with a batch that comes from the processor's memory."""
    from vitrail.training.loop import steps
    from vitrail.workshop import prepared

    shop.objective.train()
    batches = itertools.cycle(host_batches(shop.recipe.preprocess.size[0], shop.batch_size))
    return steps(shop.learner, (prepared(shop, batch) for batch in batches), shop.weights, shop.optimizer,
                 lambda step: 1e-4, micro_batches=shop.micro_batches, clip=shop.recipe.optimizer.clip)


def host_batches(image_size: int, batch: int) -> list[Any]:
    import torch

    from vitrail.vocabulary import Batch

    places = torch.arange(batch)
    return [Batch({"image": torch.randint(0, 256, (batch, 3, image_size, image_size), dtype=torch.uint8)},
                  torch.randint(0, CLASSES, (batch,)), places, places) for _ in range(HELD)]


def show(row: dict[str, Any]) -> None:
    parts = "; ".join(f"{what} {row[what]['images_per_second']:,.1f} images/s, {100 * row[what]['used']:.1f} % of the "
                      "rate" for what in ("training", "inference"))
    print(f"{row['model']:<8} {'compiled' if row['compiled'] else 'eager':<8}  {parts}", flush=True)


if __name__ == "__main__":
    main()
