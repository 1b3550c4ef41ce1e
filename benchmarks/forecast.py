"""Does `vitrail train --dry-run` foretell images a second and peak memory? Each against a real run, by fresh processes.

    python benchmarks/forecast.py [--rounds 3] [--cases ViT BiT ...] [--threads 1] [--json]

A prediction and a run of a few steps take turns; medians over the rounds are compared. The rate of a run is that of its
first half, without its first step, waiting for pictures included; its peak is what the process has held until its last
step, a checkpoint written beside training in the second half included. Targets: time within 15 %, memory within 10 %.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any, NamedTuple

from machine import machine

TIME_TARGET, MEMORY_TARGET = 0.15, 0.10
PHOTOS = 256
CHECKPOINT_AT = 0.6
"""Which part of a run lies before its one checkpoint. The step beside it may take twice as long: among the steps that
are timed it would say what one in hundreds costs."""


class Case(NamedTuple):
    """`source`: "photos" for JPEG files of 500 x 375. `steps` of the real run."""

    words: str
    source: str
    model: str
    steps: int
    settings: dict[str, Any]


CASES = {
    "ViT": Case("S/16, 224 px, bf16, batch 32", "photos", "S/16", 12,
                {"preprocess.size": [224, 224], "training.batch_size": 32, "training.precision": "bf16"}),
    "small": Case("Ti/4, 28 px, batch 128", "fashion:embedded", "Ti/4", 30, {"training.batch_size": 128}),
    "BiT": Case("R50x0.25, 28 px, batch 64", "fashion:embedded", "R50x0.25", 40, {"training.batch_size": 64}),
    "parts": Case("S/16, 224 px, batch 32 in 4 parts", "photos", "S/16", 12,
                  {"preprocess.size": [224, 224], "training.batch_size": 32, "training.micro_batches": 4}),
    "average": Case("Ti/16, 224 px, batch 64, moving average", "photos", "Ti/16", 12,
                    {"preprocess.size": [224, 224], "training.batch_size": 64, "training.average": 0.999}),
}


def recipe_of(case: Case, source: Any, checkpoint_seconds: float = 300.0) -> Any:
    """The default recipe with what the case asks for, and no evaluation."""
    from vitrail.recipes import RECIPES

    size = case.settings.get("preprocess.size")
    return RECIPES["default"](source, model=case.model, image_size=tuple(size) if size else None).replaced({
        "schedule.steps": case.steps, "training.log_every": 1, "evaluation.every_epochs": 1e6,
        "training.checkpoint_seconds": checkpoint_seconds, **case.settings})


def predict(case: Case, spec: str, folder: Path) -> tuple[float, int | None]:
    """(images a second, bytes) as a dry run says."""
    from vitrail.data.source import open_source
    from vitrail.events import Understood
    from vitrail.run import run

    source = open_source(spec)
    said = next(iter(run(recipe_of(case, source), folder, source=source, dry_run=True)))
    assert isinstance(said, Understood)
    return said.images_per_second, said.peak_bytes


def measure(case: Case, spec: str, folder: Path, said: float) -> tuple[float, int | None]:
    """(images a second, bytes) of a run. `said`: its forecast rate."""
    import torch

    from vitrail.data.source import open_source
    from vitrail.events import Stepped
    from vitrail.run import run
    from vitrail.training.forecast import peak_bytes

    source, ends, peak = open_source(spec), [], None
    recipe = recipe_of(case, source, CHECKPOINT_AT * case.steps * case.settings["training.batch_size"] / said)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    for event in run(recipe, folder, source=source):
        if isinstance(event, Stepped):
            ends.append(time.perf_counter())
            peak = peak_bytes(device)
            if len(ends) == case.steps:
                break
    taken = [later - earlier for earlier, later in itertools.pairwise(ends)][:case.steps // 2 - 1]
    return recipe.training.batch_size / statistics.mean(taken), peak


def in_a_process(what: str, name: str, photos: Path, threads: int, said: float = 0.0) -> tuple[float, int | None]:
    with tempfile.TemporaryDirectory() as folder:
        environment = os.environ | {"OMP_NUM_THREADS": str(threads)}
        child = [what, name, str(photos), folder + "/run", str(said)]
        done = subprocess.run([sys.executable, __file__, "--child", *child], env=environment, capture_output=True,
                              text=True, check=False)
    if done.returncode:
        sys.exit(f"{what} of {name}: {done.stderr}")
    rate, peak = json.loads(done.stdout.splitlines()[-1])
    return rate, peak


def compare(name: str, photos: Path, rounds: int, threads: int) -> dict[str, Any]:
    taken: dict[str, list[tuple[float, int | None]]] = {"predict": [], "measure": []}
    for _ in range(rounds):
        taken["predict"].append(in_a_process("predict", name, photos, threads))
        taken["measure"].append(in_a_process("measure", name, photos, threads, said=taken["predict"][-1][0]))
    row: dict[str, Any] = {"case": CASES[name].words}
    for what, results in taken.items():
        row[what] = {"images_per_second": statistics.median(rate for rate, _ in results),
                     "bytes": statistics.median(peak or 0 for _, peak in results)}
    said, seen = row["predict"], row["measure"]
    row["time_error"] = seen["images_per_second"] / said["images_per_second"] - 1  # time foretold over time taken
    row["memory_error"] = said["bytes"] / seen["bytes"] - 1 if seen["bytes"] else None
    return row


def write_photos(folder: Path) -> None:
    from shards import write_photographs

    write_photographs(folder, PHOTOS)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--cases", nargs="+", choices=list(CASES), default=list(CASES))
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--child", nargs=5, help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.child:
        what, name, photos, folder, said = asked.child
        case = CASES[name]
        place = photos if case.source == "photos" else case.source, Path(folder)
        print(json.dumps(predict(case, *place) if what == "predict" else measure(case, *place, float(said))))
        return
    rows = []
    with tempfile.TemporaryDirectory() as place:
        photos = Path(place) / "photos"
        write_photos(photos)
        for name in asked.cases:
            rows.append(compare(name, photos, asked.rounds, asked.threads))
            if not asked.json:
                show(rows[-1])
    print(json.dumps({"machine": machine(), "threads": asked.threads, "rows": rows}) if asked.json else
          f"\n{machine()}; {asked.threads} threads")


def show(row: dict[str, Any]) -> None:
    said, seen = row["predict"], row["measure"]
    wrong = row["time_error"]
    memory = "" if row["memory_error"] is None else (
        f"; {said['bytes'] / 2**20:,.0f} MiB said, {seen['bytes'] / 2**20:,.0f} held: "
        f"{100 * row['memory_error']:+.1f} %{'' if abs(row['memory_error']) <= MEMORY_TARGET else ' (!)'}")
    print(f"{row['case']:<40} {said['images_per_second']:7.1f} images/s said, {seen['images_per_second']:7.1f} done: "
          f"{100 * wrong:+.1f} %{'' if abs(wrong) <= TIME_TARGET else ' (!)'}{memory}", flush=True)


if __name__ == "__main__":
    main()
