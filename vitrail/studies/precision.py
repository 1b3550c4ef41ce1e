"""In which numbers the runs of a study compute: measured once for each model, and the same for all workers and days.

    STUDIES/precision.jsonl   one JSON object a line: a model, and what was faster for it

Two measurements beside other programs may come out differently, and then two runs would differ by more than what is
asked about. Of two workers that measure at the same time, the first line counts for both.
"""

from __future__ import annotations

import json

from vitrail.errors import SaveError
from vitrail.files import append_line
from vitrail.recipe import Recipe
from vitrail.studies.ledger import Ledger
from vitrail.training.parallel import World
from vitrail.training.precision import Precision
from vitrail.workshop.beginning import backend_for

PRECISION = "precision.jsonl"


def settled(recipe: Recipe, model: str, ledger: Ledger) -> Recipe:
    """The recipe with bf16 or fp32 where it leaves that open. Raises SaveError."""
    if recipe.training.precision != "auto":
        return recipe
    known = decided(ledger)
    if model not in known:
        config = recipe.model.configure(2, recipe.preprocess.size)
        line = json.dumps({"model": model, "precision": backend_for(recipe, config, World().device).precision})
        try:
            append_line(ledger.folder / PRECISION, line)
        except OSError as error:
            raise SaveError(f"Cannot write to {ledger.folder / PRECISION}: {error.strerror or error}. Free some space "
                            "and start the study again.") from None
        known = decided(ledger)
    return recipe.replaced({"training.precision": known[model]})


def decided(ledger: Ledger) -> dict[str, Precision]:
    """For each model what the first line says, and without one, what the first of its finished runs had."""
    path, found = ledger.folder / PRECISION, dict[str, Precision]()
    for line in path.read_bytes().splitlines() if path.is_file() else ():
        try:
            told = json.loads(line)
            found.setdefault(told["model"], told["precision"])
        except (ValueError, TypeError, KeyError):  # cut short by a crash
            continue
    for row in ledger.rows().values():
        if row.get("precision"):
            found.setdefault(row["model"], row["precision"])
    return found
