"""How many images a second the loader yields from packed shards, against a folder of the same files and memory.

    python benchmarks/shards.py [--images 600] [--seconds 1.5] [--rounds 4] [--step] [--json]

`vitrail pack --image-size 256` packs photographs of 500 x 375 (parts of the two that come with scikit-learn). The
training view of the default recipe (a random part, resized to 224, and a flip) is then drawn from

    memory      the packed pictures as decoded arrays: what no reading of files can beat
    folder      the same JPEG bytes, one file each
    shards      packed, from this machine
    http        the same shards from a web server that answers after 20 ms, with read-ahead; it runs in this process
                and takes some of its time

One after the other in every round; medians over the rounds. A ratio near 1 between shards and folder says that shards
cost nothing; the gap to memory is the cost of decoding JPEG. `--step` asks what that costs a step of S/16 at 224.
"""

from __future__ import annotations

import argparse
import itertools
import json
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from input_pipeline import photographs
from machine import machine
from train_step import CASES, trainer

from vitrail.data.augment import Augmentation
from vitrail.data.decode import decode
from vitrail.data.loader import Loader
from vitrail.data.pack import pack
from vitrail.data.preprocess import Preprocess
from vitrail.data.source import Split, open_source
from vitrail.data.sources.readers import FileReader
from vitrail.data.views import TrainView
from vitrail.vocabulary import Batch

sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "data"))
from stores import serving

BATCH = 32


class Decoded:
    """Pictures in memory, as arrays."""

    def __init__(self, pictures: list[np.ndarray]) -> None:
        self.pictures = pictures

    def read(self, key: int) -> np.ndarray:
        return self.pictures[key]


def write_photographs(folder: Path, count: int) -> None:
    for number, content in enumerate(photographs(count, 500, 375)):
        path = folder / "train" / f"class-{number % 10}" / f"{number}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)


def variants(packed: Split, far: Split, folder: Path) -> dict[str, Split]:
    """The same pictures in four places."""
    files = []
    for row in range(len(packed)):
        path = folder / f"{row}.jpg"
        path.write_bytes(packed.read(row))
        files.append(str(path))
    pictures = [decode(packed.read(row), "") for row in range(len(packed))]
    keys = np.arange(len(packed))
    return {"memory": replace(packed, keys=keys, reader=Decoded(pictures)),
            "folder": replace(packed, keys=keys, reader=FileReader(files)), "shards": packed, "http": far}


def measure(streams: dict[str, Iterator[Batch]], seconds: float, rounds: int) -> dict[str, float]:
    """Median images a second of each, after one round to warm up."""
    rates: dict[str, list[float]] = {name: [] for name in streams}
    for _ in range(rounds + 1):
        for name, stream in streams.items():
            for _ in range(4):  # what was read ahead while the others were measured
                next(stream)
            start, taken = time.perf_counter(), 0
            while time.perf_counter() - start < seconds:
                taken += len(next(stream).indices)
            rates[name].append(taken / (time.perf_counter() - start))
    return {name: statistics.median(values[1:]) for name, values in rates.items()}


def step_seconds(split: Split, view: TrainView, rounds: int) -> dict[str, float]:
    """Median seconds of a training step of S/16 at 224, on one batch that is ready in memory and on shards."""
    case = CASES[0]
    loaded = Loader(split, view, case.batch, seed=0).batches()
    sources = {"step, batch in memory": itertools.repeat(next(loaded)), "step, shards": loaded}
    trainers = {name: trainer(case, batches) for name, batches in sources.items()}
    taken: dict[str, list[float]] = {name: [] for name in trainers}
    for number in range(rounds + 1):
        for name, step in trainers.items():
            for place in range(8):
                start = time.perf_counter()
                step()
                if number and place >= 4:  # those before had been decoded while the other was measured
                    taken[name].append(time.perf_counter() - start)
    loaded.close()  # type: ignore[attr-defined]
    return {name: statistics.median(seconds) for name, seconds in taken.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=600)
    parser.add_argument("--seconds", type=float, default=1.5, help="of each measurement")
    parser.add_argument("--rounds", type=int, default=4)
    parser.add_argument("--step", action="store_true", help="time training steps of S/16 at 224 instead")
    parser.add_argument("--json", action="store_true")
    asked = parser.parse_args()
    if not asked.step:
        torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as place:
        home = Path(place)
        write_photographs(home / "photos", asked.images)
        (home / "files").mkdir()
        start = time.perf_counter()
        pack(open_source(str(home / "photos"), validation=0), home / "packed", image_size=256, shard_bytes=4 * 2**20)
        packing = asked.images / (time.perf_counter() - start)
        with serving(home / "packed") as web:
            splits = [open_source(spec, validation=0, divide=False).splits["train"]
                      for spec in (f"shards:{home}/packed", f"shards:{web.url}")]
            web.habit, web.delay = "slow", 0.02
            view = TrainView(Preprocess(size=224), Augmentation(crop="random-resized", flip=0.5))
            if asked.step:
                seconds = step_seconds(splits[0], view, asked.rounds)
                print(f"{machine()}\n" + "\n".join(f"{name:<22} {one * 1000:.1f} ms" for name, one in seconds.items()))
                print(f"shards cost {100 * (seconds['step, shards'] / seconds['step, batch in memory'] - 1):.1f} %")
                return
            streams = {name: Loader(split, view, BATCH, seed=0).batches()
                       for name, split in variants(*splits, home / "files").items()}
            rates = measure(streams, asked.seconds, asked.rounds)
            for stream in streams.values():
                stream.close()  # type: ignore[attr-defined]
    if asked.json:
        whole = {name: round(rate) for name, rate in rates.items()}
        print(json.dumps({"machine": machine(), "images_per_second": whole, "packing": round(packing)}, indent=2))
        return
    print(f"{machine()}; {asked.images} pictures, shorter side 256\n")
    for name, rate in rates.items():
        print(f"{name:<8} {rate:>7.0f} images/s   {rate / rates['folder']:>5.2f} x folder")
    print(f"\npacking  {packing:>7.0f} images/s")


if __name__ == "__main__":
    main()
