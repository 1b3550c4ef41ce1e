"""How many images a second one core turns from JPEG bytes into normalized 224 x 224 tensors.

    python benchmarks/input_pipeline.py [--sizes 500x375 2048x1536] [--rounds 7] [--keep] [--json]

Against a Pillow-only pipeline written the way torchvision writes it (decode, crop, resize, flip, to tensor,
normalize), which is written out below because torchvision itself is not needed anywhere else. Each runs in a process
of its own, in one thread, one after the other in every round, and the medians over the rounds are compared. Ours keep
freed memory, as a training run does (`training/allocator.py`), Pillow's with --keep. "libjpeg-turbo" is vitrail without
C++ of its own (VITRAIL_NATIVE=0), as it is on processors without AVX2.

The JPEG files are cut, with a seed, from the two photographs that come with scikit-learn.
"""

from __future__ import annotations

import argparse
import io
import json
import math
import os
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import numpy as np
import simplejpeg
import torch
from contestants import race
from machine import machine
from PIL import Image
from sklearn.datasets import load_sample_images

from vitrail import native
from vitrail.data.augment import Augmentation
from vitrail.data.order import Key
from vitrail.data.preprocess import Preprocess
from vitrail.data.views import EvalView, TrainView, View
from vitrail.training.allocator import keep_freed_memory

TARGET, RESIZED, BATCH = 224, 256, 16


def photographs(count: int, width: int, height: int, seed: int = 0) -> list[bytes]:
    """JPEG files, quality 90, 4:2:0: different parts of the two sample photographs, at the asked size."""
    random = np.random.default_rng(seed)
    sources = [Image.fromarray(picture) for picture in load_sample_images().images]
    files = []
    for index in range(count):
        source = sources[index % len(sources)]
        scale = random.uniform(0.7, 1.0) * min(source.width / width, source.height / height)
        left = random.uniform(0, source.width - width * scale)
        top = random.uniform(0, source.height - height * scale)
        box = (left, top, left + width * scale, top + height * scale)
        file = io.BytesIO()
        source.resize((width, height), Image.Resampling.BICUBIC, box=box).save(file, "JPEG", quality=90)
        files.append(file.getvalue())
    return files


# The peer, in the order and with the calls of torchvision's PIL backend: RandomResizedCrop, RandomHorizontalFlip,
# ToTensor, Normalize; for evaluation Resize and CenterCrop.


def peer_decode(file: bytes) -> Image.Image:
    return Image.open(io.BytesIO(file)).convert("RGB")


def peer_box(width: int, height: int) -> tuple[int, int, int, int]:
    for _ in range(10):
        area = height * width * torch.empty(1).uniform_(0.05, 1.0).item()
        ratio = torch.exp(torch.empty(1).uniform_(math.log(3 / 4), math.log(4 / 3))).item()
        columns, rows = round(math.sqrt(area * ratio)), round(math.sqrt(area / ratio))
        if 0 < columns <= width and 0 < rows <= height:
            top = int(torch.randint(0, height - rows + 1, size=(1,)).item())
            left = int(torch.randint(0, width - columns + 1, size=(1,)).item())
            return left, top, left + columns, top + rows
    side = min(width, height)
    return (width - side) // 2, (height - side) // 2, (width + side) // 2, (height + side) // 2


def peer_tensor(image: Image.Image) -> torch.Tensor:
    pixels = torch.from_numpy(np.array(image, np.uint8, copy=True))
    pixels = pixels.view(image.size[1], image.size[0], 3).permute((2, 0, 1)).contiguous()
    tensor = pixels.to(dtype=torch.float32).div(255).clone()
    mean = torch.as_tensor([0.5, 0.5, 0.5], dtype=tensor.dtype).view(-1, 1, 1)
    std = torch.as_tensor([0.5, 0.5, 0.5], dtype=tensor.dtype).view(-1, 1, 1)
    return tensor.sub_(mean).div_(std)


def peer_train(files: Sequence[bytes]) -> None:
    for file in files:
        image = peer_decode(file)
        image = image.crop(peer_box(*image.size)).resize((TARGET, TARGET), Image.Resampling.BILINEAR)
        if torch.rand(1) < 0.5:
            image = image.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
        peer_tensor(image)


def peer_evaluation(files: Sequence[bytes]) -> None:
    for file in files:
        image = peer_decode(file)
        scale = RESIZED / min(image.size)
        size = (int(image.width * scale), int(image.height * scale))
        image = image.resize(size, Image.Resampling.BILINEAR)
        left, top = round((image.width - TARGET) / 2), round((image.height - TARGET) / 2)
        peer_tensor(image.crop((left, top, left + TARGET, top + TARGET)))


def ours(files: Sequence[bytes], view: View) -> Callable[[], None]:
    """Views into a uint8 batch, then one normalization of the batch, as in training on a CPU."""
    batch = np.empty((BATCH, 3, TARGET, TARGET), np.uint8)

    def go() -> None:
        for start in range(0, len(files), BATCH):
            for row, file in enumerate(files[start:start + BATCH]):
                batch[row] = view(file, "photograph", Key(0, 0, start + row)).numpy()
            view.preprocess.normalize(torch.from_numpy(batch[:row + 1]))

    return go


def entropy_only(files: Sequence[bytes]) -> None:
    """What libjpeg-turbo takes for whole files and almost nothing but Huffman decoding."""
    for file in files:
        simplejpeg.decode_jpeg(file, min_height=1, min_width=1)


CROP = Augmentation(crop="random-resized", flip=0.5)
CENTRAL = Preprocess(size=TARGET, resize="crop", crop_fraction=TARGET / RESIZED)
VIEWS: dict[str, View] = {"training": TrainView(Preprocess(size=TARGET), CROP), "evaluation": EvalView(CENTRAL)}
PEERS = {"training": peer_train, "evaluation": peer_evaluation, "Huffman": entropy_only}


def start(who: str, what: str, count: int, width: int, height: int, keep: bool) -> Callable[[], None]:
    """A contestant's process: all photographs, once."""
    torch.set_num_threads(1)
    files = photographs(count, width, height)
    if keep or who != "Pillow":
        keep_freed_memory()
    if who == "Pillow":
        return partial(PEERS[what], files)
    if who == "libjpeg-turbo":
        os.environ["VITRAIL_NATIVE"] = "0"
    native.prepare()
    return ours(files, VIEWS[what])


def compare(size: str, count: int, rounds: int, keep: bool) -> dict[str, Any]:
    """Both views of all pipelines on photographs of one size."""
    width, height = map(int, size.split("x"))
    asked = [(who, what) for what in VIEWS for who in ("vitrail", "libjpeg-turbo", "Pillow")] + [("Pillow", "Huffman")]
    starts = {" ".join(one): partial(start, *one, count, width, height, keep) for one in asked}
    seconds = race(starts, rounds, warm_up=1)
    rates = {name: count / each for name, each in seconds.items()}
    return {"size": size, "photographs": count,
            "kilobytes": round(sum(map(len, photographs(count, width, height))) / count / 1000, 1),
            "images_per_second": {name: round(rate, 1) for name, rate in rates.items()}} | {
        what: {who: round(rates[f"{who} {what}"] / rates[f"Pillow {what}"], 2) for who in ("vitrail", "libjpeg-turbo")}
        for what in VIEWS} | {"huffman": round(rates["Pillow Huffman"] / rates["Pillow training"], 2)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", nargs="+", default=["500x375", "2048x1536", "4032x3024"],
                        help="width x height of the photographs")
    parser.add_argument("--megapixels", type=float, default=20, help="how many to make of each size, in all")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--keep", action="store_true", help="let Pillow's processes keep freed memory, too")
    parser.add_argument("--json", action="store_true")
    asked = parser.parse_args()
    missing = native.prepare()
    results = []
    for size in asked.sizes:
        width, height = map(int, size.split("x"))
        count = max(4, min(100, round(asked.megapixels * 1e6 / (width * height))))
        results.append(compare(size, count, asked.rounds, asked.keep))
    if asked.json:
        print(json.dumps({"machine": machine(), "missing": missing, "results": results}, indent=2))
        return
    print(f"{machine()}; one thread each{f'; nothing compiled: {missing}' if missing else ''}\n")
    print("photographs     view          Pillow   libjpeg-turbo   ratio   vitrail   ratio")
    for result in results:
        rates = result["images_per_second"]
        for view in VIEWS:
            print(f"{result['size']:<15} {view:<12}{rates[f'Pillow {view}']:>8.0f}"
                  f"{rates[f'libjpeg-turbo {view}']:>16.0f}{result[view]['libjpeg-turbo']:>8}"
                  f"{rates[f'vitrail {view}']:>10.0f}{result[view]['vitrail']:>8}")
        print(f"{'':<15} libjpeg-turbo's Huffman decoding alone: {result['huffman']}x Pillow's training view")


if __name__ == "__main__":
    main()
