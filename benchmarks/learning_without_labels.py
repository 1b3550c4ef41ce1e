"""What is it worth to learn from images without labels first? The full Fashion-MNIST, docs/results/without-labels.md.

    python benchmarks/learning_without_labels.py --plan          # what is missing, and about how long it takes
    python benchmarks/learning_without_labels.py [--objectives mae dino] [--seeds 0] [--epochs 8 | --minutes 7]
    python benchmarks/learning_without_labels.py --page          # only write the page again

One model, that of `vitrail train fashion`, and one budget of compute: that of so many epochs of masked patches over the
60,000 images. Each objective takes as many steps as the budget pays for, by vitrail's accounting; then come few-shot
and nearest neighbors of its features, and fine-tuning with 100, 1,000 and all labels. Training from scratch gets the
same images and labels and the compute of both together. All are measured on the 10,000 test images, at their end.

A cell trains in its own folder below runs/. Stopped by Ctrl-C or worse, it goes on from its last checkpoint; finished,
it is a line of docs/results/without-labels.jsonl, and is not done again.
"""

from __future__ import annotations

import argparse
import itertools
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from machine import machine
from results import outcome, trained
from results_page import DOCS, Row, append, rate_of, read_ledger
from results_page import LEDGER as SUPERVISED
from without_labels_page import NAME, QUIET_RATE, SCRATCH, UNTRAINED, write_page
from without_labels_recipes import (
    OBJECTIVES,
    TRAINING_FLOPS,
    finetuning,
    from_scratch,
    labeled_part,
    macs_of,
    pretraining,
    steps_for,
)

from vitrail.bundle import Bundle
from vitrail.data.source import Source, open_source
from vitrail.models import build
from vitrail.recipe import Recipe
from vitrail.training.journal import JOURNAL, read_journal
from vitrail.transfer.probe import measure, plan_probe

RUNS = Path(__file__).parents[1] / "runs" / "without-labels"
CONTESTANTS = [*OBJECTIVES, UNTRAINED, SCRATCH]


@dataclass
class Harness:
    """Where everything lies, and how much each cell may compute. `free` and `source`: the images without and with
    labels; `labels`: how many of them are given, None for all."""

    free: Source
    source: Source
    docs: Path
    runs: Path
    epochs: float
    shared: bool
    labels: tuple[int | None, ...]
    rows: list[Row] = field(default_factory=list)

    @property
    def ledger(self) -> Path:
        return self.docs / f"{NAME}.jsonl"

    @property
    def budget(self) -> float:
        """FLOPs of pre-training: those of the epochs of masked patches."""
        reference = pretraining("masked-color", 0, self.free, 1)
        return TRAINING_FLOPS * macs_of(reference, self.free) * self.epochs * len(self.free.splits["train"])

    def has(self, key: Row) -> bool:
        return any(key.items() <= row.items() for row in self.rows)

    def note(self, row: Row) -> None:
        append(self.ledger, row | {"machine": machine(), "shared": self.shared})
        self.rows = read_ledger(self.ledger)  # with what other workers have finished, so that the page tells all
        write_page(self.rows, self.docs)


def main() -> None:
    options = parsed()
    source = open_source(options.source, validation=0.0)
    harness = Harness(open_source(options.source, validation=0.0, labeled=False), source, options.docs, options.runs,
                      epochs_of(options, len(source.splits["train"])), options.shared,
                      tuple(None if count == "all" else int(count) for count in options.labels))
    harness.rows = read_ledger(harness.ledger)
    if options.plan:
        plan(harness, options.objectives, options.seeds)
    elif not options.page:
        for seed, name in itertools.product(options.seeds, options.objectives):
            if name != SCRATCH:
                probe_cell(harness, name, seed)
            for labels in harness.labels if name != UNTRAINED else ():
                (scratch_cell if name == SCRATCH else finetune_cell)(harness, name, seed, labels)
    write_page(harness.rows, harness.docs)


def parsed() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=str(__doc__).splitlines()[0])
    parser.add_argument("--objectives", nargs="+", choices=CONTESTANTS, default=CONTESTANTS)
    parser.add_argument("--seeds", nargs="+", type=int, default=[0])
    length = parser.add_mutually_exclusive_group()
    length.add_argument("--epochs", type=float, default=8.0, help="of masked patches, whose compute is the budget")
    length.add_argument("--minutes", type=float, help="the same as time on this machine when it is quiet")
    parser.add_argument("--labels", nargs="+", default=["100", "1000", "all"], help="how many are given")
    parser.add_argument("--shared", action="store_true", help="other programs compute beside this one")
    parser.add_argument("--plan", action="store_true", help="only say what is missing")
    parser.add_argument("--page", action="store_true", help="only write the page")
    parser.add_argument("--source", default="fashion")
    parser.add_argument("--docs", type=Path, default=DOCS / "results", help="of ledger, page and figure")
    parser.add_argument("--runs", type=Path, default=RUNS)
    return parser.parse_args()


def epochs_of(options: argparse.Namespace, images: int) -> float:
    return options.epochs if options.minutes is None else 60 * options.minutes * quiet_rate() / images


def quiet_rate() -> float:
    rows = read_ledger(SUPERVISED)
    return rate_of(rows, "vit") if any(row["kind"] == "rate" for row in rows) else QUIET_RATE


def key_of(harness: Harness, kind: str, seed: int, recipe: Recipe | None = None, **more: object) -> Row:
    """What makes a cell itself. Another recipe, or other weights to start from, make another cell."""
    return {"kind": kind, "seed": seed, "epochs": harness.epochs, "source": harness.source.spec, **more,
            **({"recipe": recipe.identity()} if recipe else {})}


def pretrained(harness: Harness, name: str, seed: int) -> Path:
    """The run folder of an objective, trained to its end."""
    recipe = pretraining_recipe(harness, name, seed)
    folder = harness.runs / f"{name}-{harness.epochs:g}-{seed}"
    key = key_of(harness, "pretrain", seed, recipe, objective=name)
    if not (harness.has(key) and (folder / "bundle").exists()):
        trained(recipe, folder, harness.free)
    if not harness.has(key):
        told, journal = Bundle.load(folder).provenance, read_journal(folder / JOURNAL)
        harness.note(key | {"samples": told["samples"], "loss": told["loss"]["loss"], "seconds": told["seconds"],
                            "flops": TRAINING_FLOPS * macs_of(recipe, harness.free) * told["samples"],
                            "beyond_constant": next((row["train/beyond_constant"] for row in reversed(journal)
                                                     if "train/beyond_constant" in row), None)})
    return folder


def pretraining_recipe(harness: Harness, name: str, seed: int) -> Recipe:
    """As many steps as the budget pays for."""
    recipe = pretraining(name, seed, harness.free, 1)
    return recipe.replaced({"schedule.steps": steps_for(recipe, harness.free, harness.budget)})


def probe_cell(harness: Harness, name: str, seed: int) -> None:
    key = key_of(harness, "probe", seed, pretraining_recipe(harness, name, seed) if name != UNTRAINED else None,
                 objective=name)
    if name != UNTRAINED:
        folder = pretrained(harness, name, seed)
    if harness.has(key):
        print(f"{name}, seed {seed}, features: already there")
        return
    bundle = untrained(harness, seed) if name == UNTRAINED else Bundle.load(folder)
    found = measure(plan_probe(bundle, [harness.source.spec], cache=harness.runs / "features"))
    harness.note(key | {"scores": [score.model_dump(mode="json") for score in found.scores]})


def untrained(harness: Harness, seed: int) -> Bundle:
    """The model as it is drawn: what its shape alone makes of images."""
    import torch

    recipe = pretraining("masked-color", seed, harness.free, 1)
    torch.manual_seed(seed)
    return Bundle(build(recipe.model.configure(0, recipe.preprocess.size)).eval(), recipe.preprocess)


def finetune_cell(harness: Harness, name: str, seed: int, labels: int | None) -> None:
    part = labeled_part(harness.source, labels, seed)
    recipe = finetuning(part, harness.runs / f"{name}-{harness.epochs:g}-{seed}", seed)
    supervised_cell(harness, "finetune", recipe, part, seed, labels, name)


def scratch_cell(harness: Harness, name: str, seed: int, labels: int | None) -> None:
    """With the compute of pre-training and of fine-tuning, which is the same for every objective."""
    part = labeled_part(harness.source, labels, seed)
    recipe = from_scratch(part, harness.source, seed, harness.budget)
    supervised_cell(harness, "scratch", recipe, part, seed, labels, name)


def supervised_cell(harness: Harness, kind: str, recipe: Recipe, part: Source, seed: int, labels: int | None,
                    name: str) -> None:
    count = len(part.splits["train"])
    key = key_of(harness, kind, seed, recipe, objective=name, labels=count)
    if harness.has(key):
        print(f"{name}, seed {seed}, {count:,} labels: already there")
        return
    folder = harness.runs / f"{kind}-{name}-{harness.epochs:g}-{count}-{seed}"
    trained(recipe, folder, part)
    kept = outcome(folder)
    harness.note(key | {"test": kept["test"], "images": kept["images"], "samples": kept["samples"],
                        "seconds": kept["clock_seconds"], "threads": kept["threads"],
                        "flops": TRAINING_FLOPS * macs_of(recipe, part) * kept["samples"]})


def plan(harness: Harness, objectives: list[str], seeds: list[int]) -> None:
    """Cells that the ledger lacks, and about how long each trains at the measured rate of the supervised model."""
    total = 0.0
    for words, minutes in itertools.chain.from_iterable(missing(harness, name, seed) for seed in seeds
                                                        for name in objectives if name != UNTRAINED):
        total += minutes
        print(f"{words}: about {minutes:.1f} min")
    print(f"in all about {total:.0f} min of training on a quiet machine, and half a minute for each look at the test")


def missing(harness: Harness, name: str, seed: int) -> Iterator[tuple[str, float]]:
    reference = pretraining("masked-color", seed, harness.free, 1)
    per_second = quiet_rate() * TRAINING_FLOPS * macs_of(reference, harness.free)
    if name != SCRATCH and not harness.has(key_of(harness, "pretrain", seed, pretraining_recipe(
            harness, name, seed), objective=name)):
        yield f"{name}, seed {seed}, pre-training", harness.budget / per_second / 60
    for labels in harness.labels:
        part = labeled_part(harness.source, labels, seed)
        count = len(part.splits["train"])
        recipe = from_scratch(part, harness.source, seed, harness.budget if name == SCRATCH else 0.0)
        looks = (recipe.schedule.steps or 0) * recipe.training.batch_size
        kind = "scratch" if name == SCRATCH else "finetune"
        if not any(row["kind"] == kind and row["objective"] == name and row.get("labels") == count
                   and row["seed"] == seed and np.isclose(row["epochs"], harness.epochs) for row in harness.rows):
            yield f"{name}, seed {seed}, {count:,} labels", looks * TRAINING_FLOPS * macs_of(
                recipe, part) / per_second / 60


if __name__ == "__main__":
    main()
