"""What does it take to load a file, and are loaded models as fast as new ones?

    python benchmarks/load_weights.py [memory] [speed] [--rounds 9] [--json]

Memory: L/16 (304 M parameters, 1.2 GB) is written once in each container, and loaded in a process of its own, which
watches its resident size: the peak over what stood before, divided by the size of the file. Pages of a mapped file
count. Speed: images a second of B/16, loaded against created, rounds interleaved, medians compared.
Cost: about 3 minutes, of which 1 for speed, 5 GB in the folder for temporary files, 2.5 GB of memory.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing as mp
import statistics
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import torch
from machine import machine

from vitrail import Bundle, Preprocess, create, load
from vitrail.weights import write

CONTAINERS = {"Bundle": "vitrail", "npz": "official", "safetensors (timm)": "timm",
              "safetensors (Hugging Face)": "huggingface"}
NUMERICS = {"official": {}, "vitrail": {}, "timm": {"feedforward": "gelu", "resampling": "bicubic-antialias"},
            "huggingface": {"feedforward": "gelu", "resampling": "bicubic"}}
MOST_MEMORY, SPEEDS = 1.3, (0.97, 1.03)


class Loaded(NamedTuple):
    size: int
    grown: int
    seconds: float


def written(folder: Path, name: str, format_name: str) -> Path:
    model = create(name, **NUMERICS[format_name]).eval()
    torch.nn.init.normal_(model.head.weight, std=0.01)
    return write(Bundle(model, Preprocess(size=224)), folder / format_name, format_name)


def resident() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096


def watched(path: Path, answer: mp.SimpleQueue) -> None:
    """Load, while a thread looks at the resident size every millisecond."""
    before, peak, done = resident(), 0, threading.Event()

    def watch() -> None:
        nonlocal peak
        while not done.wait(0.001):
            peak = max(peak, resident())

    thread = threading.Thread(target=watch)
    thread.start()
    started = time.perf_counter()
    bundle = load(path)
    seconds = time.perf_counter() - started
    done.set()
    thread.join()
    answer.put((max(peak, resident()) - before, seconds))
    del bundle


def memory(format_name: str) -> Loaded:
    context = mp.get_context("spawn")
    with tempfile.TemporaryDirectory() as folder:
        writer = context.Process(target=written, args=(Path(folder), "L/16", format_name))
        writer.start()
        writer.join()
        path = Path(folder) / format_name
        files = [path] if path.is_file() else list(path.iterdir())
        answer = context.SimpleQueue()
        reader = context.Process(target=watched, args=(path, answer))
        reader.start()
        reader.join()
        return Loaded(sum(file.stat().st_size for file in files), *answer.get())


def speed(format_name: str, rounds: int) -> float:
    """Images a second, loaded over created."""
    with tempfile.TemporaryDirectory() as folder:
        loaded = load(written(Path(folder), "B/16", format_name)).model
    models = {"loaded": loaded, "created": create("B/16", **NUMERICS[format_name]).eval().requires_grad_(False)}
    images = torch.randn(2, 3, 224, 224)
    taken: dict[str, list[float]] = {name: [] for name in models}
    with torch.inference_mode():
        for number in range(rounds + 1):
            for name in sorted(models, reverse=bool(number % 2)):
                seconds = timed(lambda: models[name](images))  # noqa: B023
                if number:  # the first round warms up
                    taken[name].append(seconds)
    return statistics.median(taken["created"]) / statistics.median(taken["loaded"])


def timed(call: Callable[[], object]) -> float:
    started = time.perf_counter()
    call()
    return time.perf_counter() - started


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("questions", nargs="*", choices=("memory", "speed", []))
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    asked = options.questions or ("memory", "speed")
    results: dict[str, dict[str, dict[str, float]]] = {}
    if "memory" in asked:
        results["memory"] = {words: memory(name)._asdict() for words, name in CONTAINERS.items()}
    if "speed" in asked:
        results["speed"] = {words: {"ratio": speed(name, options.rounds)} for words, name in CONTAINERS.items()}
    if options.json:
        print(json.dumps({"machine": machine(), **results}))
        return
    if "memory" in asked:
        print(f"peak memory over the size of the file (at most {MOST_MEMORY}x), L/16:")
    for words, one in results.get("memory", {}).items():
        print(f"  {one['grown'] / one['size']:5.2f}x  {words:<28}{one['size'] / 1e9:.2f} GB in {one['seconds']:.1f} s")
    if "speed" in asked:
        print(f"images a second, loaded over created ({SPEEDS[0]}x to {SPEEDS[1]}x), B/16:")
    for words, one in results.get("speed", {}).items():
        print(f"  {one['ratio']:5.2f}x  {words}")
    print(f"\n{machine()}")


if __name__ == "__main__":
    main()
