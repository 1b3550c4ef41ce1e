"""How long does augmentation take, operation by operation, against Pillow's?

    python benchmarks/augmentation.py [--rounds 15] [--json]

On one 224 x 224 picture in one thread, by the median over rounds in which all take turns. Pillow gets its image ready
made, in its own order of channels, so nothing is converted for it; ours works on the planes that the loader hands on.
RandAugment of Pillow is its operations of the same strengths in the same draws. Mixing is for a batch, by the image.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections.abc import Callable

import numpy as np
import torch
from machine import machine
from PIL import Image, ImageDraw, ImageEnhance, ImageFilter, ImageOps
from sklearn.datasets import load_sample_image

from vitrail.data.augment import Augmentation, colors
from vitrail.data.augment.policies import RANDAUGMENT, THREE, RandAugment, three_augment, trivial_augment
from vitrail.data.mix import mixed
from vitrail.data.order import AUGMENT, Draws
from vitrail.vocabulary import Batch

SIDE, LEVEL, GREY = 224, 15.0, (128, 128, 128)
FACTOR, REPEATS, BATCH = LEVEL / 10 * 1.8 + 0.1, 20, 64
Work = Callable[[Draws], object]


def affine(image: Image.Image, a: float, b: float, c: float, d: float, e: float, f: float) -> Image.Image:
    return image.transform(image.size, Image.Transform.AFFINE, (a, b, c, d, e, f), fillcolor=GREY)


def covered(image: Image.Image) -> Image.Image:
    image = image.copy()
    ImageDraw.Draw(image).rectangle((60, 60, 179, 179), fill=GREY)
    return image


PILLOW: dict[str, Callable[[Image.Image], Image.Image]] = {
    "autocontrast": ImageOps.autocontrast,
    "equalize": ImageOps.equalize,
    "invert": ImageOps.invert,
    "rotate": lambda image: image.rotate(45, fillcolor=GREY),
    "posterize": lambda image: ImageOps.posterize(image, 6),
    "solarize": lambda image: ImageOps.solarize(image, 128),
    "color": lambda image: ImageEnhance.Color(image).enhance(FACTOR),
    "contrast": lambda image: ImageEnhance.Contrast(image).enhance(FACTOR),
    "brightness": lambda image: ImageEnhance.Brightness(image).enhance(FACTOR),
    "sharpness": lambda image: ImageEnhance.Sharpness(image).enhance(FACTOR),
    "shear-x": lambda image: affine(image, 1, 0.45, 0, 0, 1, 0),
    "shear-y": lambda image: affine(image, 1, 0, 0, 0.45, 1, 0),
    "translate-x": lambda image: affine(image, 1, 0, 150, 0, 1, 0),
    "translate-y": lambda image: affine(image, 1, 0, 0, 0, 1, 150),
    "cutout": covered,
    "solarize-add": lambda image: image.point([min(v + 165, 255) if v < 128 else v for v in range(256)] * 3),
}


def contests(pixels: np.ndarray, image: Image.Image) -> dict[str, tuple[Work, Work | None]]:
    """What is timed: ours, and Pillow's where it has the same."""
    def pillow_randaugment(draws: Draws) -> Image.Image:
        changed = image
        for _ in range(2):
            changed = list(PILLOW.values())[draws.integer(len(PILLOW))](changed)
        return changed

    rows: dict[str, tuple[Work, Work | None]] = {
        name: (lambda draws, operation=operation: operation(pixels, LEVEL, draws),
               lambda draws, name=name: PILLOW[name](image)) for name, operation in RANDAUGMENT.items()}
    rows["grey"] = (lambda draws: THREE["grey"](pixels, 0.5, draws), lambda draws: image.convert("L").convert("RGB"))
    rows["blur"] = (lambda draws: colors.blurred(pixels, 1.3),
                    lambda draws: image.filter(ImageFilter.GaussianBlur(1.3)))
    rows["RandAugment(2, 15)"] = (lambda draws: RandAugment(layers=2, magnitude=15)(pixels, draws), pillow_randaugment)
    rows["TrivialAugment"] = (lambda draws: trivial_augment(pixels, draws), None)
    rows["3-Augment"] = (lambda draws: three_augment(pixels, draws), None)
    jitter = Augmentation(brightness=0.3, contrast=0.3, saturation=0.3)
    rows["color jitter"] = (lambda draws: jitter.vary(pixels, (0.5, 0.5, 0.5), draws), lambda draws: ImageEnhance.Color(
        ImageEnhance.Contrast(ImageEnhance.Brightness(image).enhance(1.2)).enhance(1.2)).enhance(1.2))
    return rows


def mixing(pixels: np.ndarray) -> dict[str, tuple[Work, Work | None]]:
    batch = Batch({"image": torch.from_numpy(pixels).repeat(BATCH, 1, 1, 1)}, torch.zeros(BATCH, dtype=torch.long),
                  torch.arange(BATCH), torch.arange(BATCH))
    choices = {"mixup": Augmentation(mixup=0.2), "cutmix": Augmentation(cutmix=1.0)}
    return {name: (lambda draws, choice=choice: mixed(batch, choice, classes=1000, seed=0, batch_size=BATCH), None)
            for name, choice in choices.items()}


def timed(work: Work, repeats: int, start: int) -> float:
    """Milliseconds of one."""
    began = time.perf_counter()
    for sample in range(start, start + repeats):
        work(Draws(AUGMENT, 0, 0, sample))
    return (time.perf_counter() - began) / repeats * 1000


def measure(rows: dict[str, tuple[Work, Work | None]], rounds: int, repeats: int, images: int = 1) -> list[dict]:
    taken: dict[tuple[str, int], list[float]] = {}
    for number in range(rounds + 1):  # the first warms up
        for name, works in rows.items():
            for side, work in enumerate(works):
                if work is not None:
                    taken.setdefault((name, side), []).append(timed(work, repeats, number * repeats) / images)
    medians = {key: statistics.median(times[1:]) for key, times in taken.items()}
    return [{"operation": name, "milliseconds": round(medians[name, 0], 4),
             "pillow": round(medians[name, 1], 4) if (name, 1) in medians else None,
             "ratio": round(medians[name, 1] / medians[name, 0], 2) if (name, 1) in medians else None}
            for name in rows]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--json", action="store_true")
    asked = parser.parse_args()
    torch.set_num_threads(1)
    image = Image.fromarray(load_sample_image("flower.jpg")).resize((SIDE, SIDE))
    pixels = np.ascontiguousarray(np.asarray(image).transpose(2, 0, 1))
    results = measure(contests(pixels, image), asked.rounds, REPEATS)
    results += measure(mixing(pixels), max(3, asked.rounds // 3), 2, images=BATCH)
    if asked.json:
        print(json.dumps({"machine": machine(), "results": results}, indent=2))
        return
    print(f"{machine()}; one thread\n\noperation                ms    Pillow   ratio")
    for row in results:
        pillow = f"{row['pillow']:>10.3f}{row['ratio']:>7.2f}x" if row["pillow"] is not None else ""
        print(f"{row['operation']:<20}{row['milliseconds']:>7.3f}{pillow}")


if __name__ == "__main__":
    main()
