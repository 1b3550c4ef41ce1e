"""Recipe -> Bundle: the one place where the stations are wired together.

    for event in run(recipe, Path("runs/first")): ...

The run folder: recipe.json, manifest.csv (the splits), metrics.jsonl, tb/, checkpoints/step-N/, bundle/, report.html.
"""

from __future__ import annotations

from vitrail.run.folder import MANIFEST_CSV, RATES, RECIPE, claim
from vitrail.run.whole import run

__all__ = ["MANIFEST_CSV", "RATES", "RECIPE", "claim", "run"]
