"""Cell: one run of a study, and what of it is worth a line of the ledger."""

from __future__ import annotations

import contextlib
import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from vitrail import __version__
from vitrail.bundle import Bundle
from vitrail.errors import BundleError, DivergedError, RunError, UsageError
from vitrail.events import Event, Finished
from vitrail.models import describe
from vitrail.recipe import Recipe, read_recipe
from vitrail.run import RECIPE, run
from vitrail.studies.ledger import Ledger, Row, only_worker
from vitrail.studies.precision import settled
from vitrail.training.checkpoint import read_state, step_folders
from vitrail.training.guard import Interrupts
from vitrail.training.journal import JOURNAL, read_journal
from vitrail.workshop import Watch


@dataclass(frozen=True)
class Cell:
    """`recipe` decides all; `labels` say what the cell is in its study (seed, model, ...), for its table, and `words`
    the same to people; `images`: how many it trains on. `may_diverge`: that its loss stops being finite is a result,
    as for a learning rate that is tried; else it ends the study."""

    recipe: Recipe
    data: str
    images: int
    labels: dict[str, Any] = field(default_factory=dict)
    words: str = ""
    may_diverge: bool = False

    @cached_property
    def key(self) -> str:
        """Of everything that decides the result: the recipe with its length, and the images (`data`, the fingerprint of
        the source). What a study calls the cell does not matter, so that studies share what they trained."""
        shared = {"recipe": self.recipe.identity(), "schedule": self.recipe.schedule.model_dump(mode="json"),
                  "keep": self.recipe.evaluation.keep, "data": self.data}
        return hashlib.sha256(json.dumps(shared, sort_keys=True).encode()).hexdigest()[:24]

    @property
    def model(self) -> str:
        """What decides how fast it is."""
        height, width = self.recipe.preprocess.size
        return f"{model_name(self.recipe)} {height}x{width} {self.recipe.training.precision}"

    @property
    def samples(self) -> int:
        """Images that it sees in all, the same one often. Raises UsageError for a length in seconds: cells that share
        a machine would differ by what else it does."""
        steps = self.recipe.schedule.total_steps(self.images, self.recipe.training.batch_size)
        if steps is None:
            raise UsageError("The runs of a study have a length in epochs or steps, so that they are the same wherever "
                             "they are trained; schedule.seconds is not possible. --time is for the whole study.")
        return steps * self.recipe.training.batch_size

    @property
    def exaflops(self) -> float:
        """What training it costs, but for the head."""
        return describe(self.recipe.model.configure(2, self.recipe.preprocess.size)).training_exaflops(self.samples)


def model_name(recipe: Recipe) -> str:
    """With its shape where that is not the one of its name: `Ti/4 (128x6)`."""
    return recipe.model.configure(2, recipe.preprocess.size).name


def train_cell(cell: Cell, ledger: Ledger, interrupts: Interrupts, watch: Watch | None = None) -> Iterator[Event]:
    """Train a cell that the ledger lacks, or go on with it, and write its line. Nothing where another worker has it, or
    finished it meanwhile; an interrupted one writes no line, and goes on the next time."""
    place = ledger.place(cell.key)
    with only_worker(ledger, cell.key) as ours, ours_to_mend(place):
        if not ours:
            return
        if finished := result_of(place, cell):
            ledger.append(finished)  # trained, but killed before its line was written
            return
        resume = (place / RECIPE).exists()
        recipe = cell.recipe.replaced({"training.precision": read_recipe(place / RECIPE).training.precision}) if (
            resume) else settled(cell.recipe, cell.model, ledger)
        try:
            for event in run(recipe, place, resume=resume, page=False, interrupts=interrupts, watch=watch):
                yield event
                if isinstance(event, Finished) and event.signal is None:
                    row = result_of(place, cell)
                    if row is None:
                        raise RunError(f"{place} ended without a result.")
                    ledger.append(row)
        except DivergedError as error:
            if not cell.may_diverge:
                raise
            ledger.append(shared_part(cell) | {"result": {"diverged": str(error)}})


@contextlib.contextmanager
def ours_to_mend(place: Path) -> Iterator[None]:
    """Says of a damaged run of a study what to do: its user did not make it, and nothing is lost with it but time."""
    if place.exists() and not place.is_dir():
        raise RunError(f"{place} is a file, where a run of this study belongs. Take it away, and the run is trained.")
    try:
        yield
    except BundleError as error:
        if str(place) not in str(error):
            raise
        raise BundleError(f"{error} Delete {place}, which is a run of this study, and it is trained again.") from None


def result_of(place: Path, cell: Cell) -> Row | None:
    """The line of a finished run; None where it is not finished."""
    if not (place / "bundle").exists():
        return None
    bundle = Bundle.load(place / "bundle")
    journal, accounting = read_journal(place / JOURNAL), describe(bundle.model.config)
    measured = with_labels if cell.recipe.objective.labeled else without_labels
    result = measured(bundle.provenance, journal)
    if result is None:  # which is the last thing that a run does
        return None
    steps = step_folders(place / "checkpoints")
    if not steps:
        raise BundleError(f"{place} has lost its checkpoints, which tell what it cost.")
    spent = read_state(steps[0])  # the Bundle may be of the best step, not the last
    return shared_part(cell) | {
        "model": cell.model, "name": bundle.model.config.name, "macs": accounting.macs, "result": result,
        "precision": bundle.provenance.get("backend", {}).get("precision"),
        "replaced": len(bundle.provenance.get("unreadable", {})),
        "cost": {"steps": spent.step, "samples": spent.samples, "seconds": round(spent.seconds, 1),
                 "exaflops": accounting.training_exaflops(spent.samples)},
    }


def shared_part(cell: Cell) -> Row:
    """What every line says, whatever came out."""
    return {"key": cell.key, "recipe": cell.recipe.identity(), "data": cell.data, "seed": cell.recipe.seed,
            "labels": cell.labels, "vitrail": __version__}


def with_labels(told: Mapping[str, Any], journal: Sequence[Row]) -> dict[str, Any] | None:
    if "evaluation" not in told:
        return None
    return {"test": told["evaluation"], "val": [
        [row["samples"], row["val/top1"]] for row in journal if "val/top1" in row]}


def without_labels(told: Mapping[str, Any], journal: Sequence[Row]) -> dict[str, Any] | None:
    """What the frozen features are worth by a few labels of each class, in the end and (`floor`) before training;
    `probe` has all that was measured. None for a run that does not probe, too."""
    if "probe" not in told:
        return None
    scores = told["probe"]["scores"]
    method = next((name for name in scores if name.startswith("few_shot_")), next(iter(scores)))
    before = next((row[f"probe/{method}"] for row in journal if row["step"] == 0 and f"probe/{method}" in row), None)
    return {"test": {"split": told["probe"]["split"], "top1": scores[method], "images": told["probe"]["images"],
                     "by": method}, "probe": scores, "floor": before}
