"""How accurate is each family on the full Fashion-MNIST, from scratch, after the same time? The page docs/results.md.

    python benchmarks/results.py --time                        # five minutes, on a quiet machine: images a second
    python benchmarks/results.py [--models vit bit hybrid] [--seeds 0 1 2] [--epochs 10] [--shared]
    python benchmarks/results.py --page                        # only write the page again

The ViT is what `vitrail train fashion` does; the others get the same recipe and as many steps as fit into the ViT's
time at the rates of `--time`. A cell is one model, one length and one seed, and trains in its own folder below runs/.
Stopped by Ctrl-C or worse, it goes on from its last checkpoint; finished, it is a line of docs/results/fashion.jsonl,
and is not done again. `--shared` where other programs compute beside it: then its own clock says nothing.
"""

from __future__ import annotations

import argparse
import itertools
import os
import statistics
import tempfile
import time
from contextlib import closing
from pathlib import Path
from typing import Any

from machine import machine
from results_page import LEDGER, Row, append, rate_of, read_ledger, write_page

from vitrail.bundle import Bundle
from vitrail.data.source import Source, open_source
from vitrail.events import Evaluated, Measured, Stepped
from vitrail.recipe import Recipe, read_recipe
from vitrail.recipes import RECIPES
from vitrail.run import RECIPE, run
from vitrail.training.journal import JOURNAL, read_journal

RUNS = Path(__file__).parents[1] / "runs" / "results"
TRANSFORMER = {"width": 128, "depth": 6, "heads": 4, "mlp": 512, "feedforward": "gelu"}  # the default recipe's
MODELS: dict[str, tuple[str | None, dict[str, Any]]] = {
    "vit": (None, {}),
    "bit": ("R50x0.25", {}),
    "hybrid": ("R+Ti/2", {f"model.settings.{name}": value for name, value in TRANSFORMER.items()}),
}
"""Name (None: what the recipe chooses) and settings. R+Ti/2: the root of the ResNet, and each of the 7 x 7 places of
its map a patch, so that a token stands for 4 x 4 pixels as in the ViT."""
WARM, TIMED, ROUNDS = 20, 100, 7  # steps, steps, times


def main() -> None:
    options = parsed()
    rows = read_ledger(LEDGER)
    if not options.page:
        source = open_source("fashion")
        if options.time:
            rows += [append(LEDGER, row) for row in timed(options.models, source)]
        else:
            for seed, model in itertools.product(options.seeds, options.models):
                cell(rows, model, seed, source, options)
    write_page(rows)


def parsed() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=str(__doc__).splitlines()[0])
    parser.add_argument("--models", nargs="+", choices=MODELS, default=list(MODELS))
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2])
    parser.add_argument("--epochs", type=float, help="of the ViT; those of its recipe without")
    parser.add_argument("--shared", action="store_true", help="other programs compute beside this one")
    parser.add_argument("--time", action="store_true", help="measure images a second and stop")
    parser.add_argument("--page", action="store_true", help="only write the page")
    return parser.parse_args()


def recipe_of(model: str, seed: int, source: Source, changes: dict[str, Any]) -> Recipe:
    name, settings = MODELS[model]
    return RECIPES["default"](source, model=name, seed=seed).replaced(settings | changes)


def timed(models: list[str], source: Source) -> list[Row]:
    """Images a second of each: the medians of rounds in which all take their turn, since machines drift."""
    rates: dict[str, list[float]] = {model: [] for model in models}
    for _, model in itertools.product(range(ROUNDS), models):
        rates[model].append(rate_once(model, source))
        print(f"{model}: {rates[model][-1]:,.0f} images a second", flush=True)
    return [{"kind": "rate", "model": model, "images_per_second": round(statistics.median(own), 1), "rounds": ROUNDS,
             "lowest": round(min(own), 1), "highest": round(max(own), 1), "machine": machine()}
            for model, own in rates.items()]


def rate_once(model: str, source: Source) -> float:
    """Images a second of training as it is, loading and optimizer included, over TIMED steps."""
    recipe = recipe_of(model, 0, source, {"schedule.steps": 10 * TIMED})
    with tempfile.TemporaryDirectory() as folder, closing(run(recipe, Path(folder) / "run", source=source)) as events:
        clock = {event.step.step: time.perf_counter() for event in itertools.islice(
            (event for event in events if isinstance(event, Stepped)), WARM + TIMED)}
    return recipe.training.batch_size * TIMED / (clock[WARM + TIMED] - clock[WARM])


def cell(rows: list[Row], model: str, seed: int, source: Source, options: argparse.Namespace) -> None:
    """Train one cell that the ledger lacks, or go on with it, and note it."""
    vit = recipe_of("vit", seed, source, {"schedule.epochs": options.epochs} if options.epochs else {})
    recipe = recipe_of(model, seed, source, {"evaluation.every_epochs": 1.0})
    group = {"kind": "cell", "model": model, "vit_epochs": vit.schedule.epochs}
    cell_key = group | {"seed": seed, "recipe": recipe.identity()}
    if any(cell_key.items() <= row.items() for row in rows):
        print(f"{model}, seed {seed}: already there")
        return
    others = [row["steps"] for row in rows if group.items() <= row.items()]
    steps = others[0] if others else steps_in_time(rows, vit, recipe, model, len(source.splits["train"]))
    folder = RUNS / f"{model}-{vit.schedule.epochs:g}-{seed}"
    trained(recipe.replaced({"schedule.steps": steps}), folder, source)
    rows.append(append(LEDGER, cell_key | outcome(folder) | {"shared": options.shared, "machine": machine()}))
    write_page(rows)


def steps_in_time(rows: list[Row], vit: Recipe, recipe: Recipe, model: str, images: int) -> int:
    """As many as the model does in the time that the ViT takes for its own."""
    steps = vit.schedule.total_steps(images, vit.training.batch_size)
    assert steps is not None
    share = rate_of(rows, model) / rate_of(rows, "vit")
    return round(steps * share * vit.training.batch_size / recipe.training.batch_size)


def trained(recipe: Recipe, folder: Path, source: Source) -> None:
    """To the end, in one go or several; what is in the folder keeps its length. A finished run is taken as it is."""
    resume = (folder / RECIPE).exists()
    if resume:
        held = read_recipe(folder / RECIPE)
        if held.identity() != recipe.identity():
            raise SystemExit(f"{folder} holds a run of another recipe. Move it away.")
        if tested(folder):
            return
        recipe = held
    for event in run(recipe, folder, source=source, resume=resume):
        if isinstance(event, Evaluated):
            print(f"{folder.name}: step {event.step:,}, {event.split} {event.evaluation.top1:.4f}", flush=True)
        if isinstance(event, Measured):
            print(f"{folder.name}: step {event.step:,}, {event.split} loss {event.loss:.4f}", flush=True)


def tested(folder: Path) -> bool:
    """Whether the run went through its last evaluation: one that was killed in it has a Bundle without a result."""
    told = Bundle.load(folder / "bundle").provenance if (folder / "bundle").exists() else {}
    return "evaluation" in told or "loss" in told


def outcome(folder: Path) -> Row:
    """What a finished run says of itself; the curve is (samples, accuracy on the held-out part of train)."""
    bundle, journal = Bundle.load(folder / "bundle"), read_journal(folder / JOURNAL)
    told = bundle.provenance
    return {"name": bundle.model.config.name, "steps": told["step"], "samples": told["samples"],
            "test": told["evaluation"]["top1"], "images": told["evaluation"]["images"],
            "clock_seconds": told["seconds"], "threads": journal[0].get("threads"), "cores": os.cpu_count(),
            "precision": told["backend"]["precision"], "created": told["created"], "torch": told["torch"],
            "curve": [[row["samples"], round(row["val/top1"], 4)] for row in journal if "val/top1" in row]}


if __name__ == "__main__":
    main()
