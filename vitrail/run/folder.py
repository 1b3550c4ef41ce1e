"""What lies in a run folder, and whose it is."""

from __future__ import annotations

from pathlib import Path

from vitrail.errors import UsageError

RECIPE, REPORT, MANIFEST_CSV = "recipe.json", "report.html", "manifest.csv"
RATES = "rates"
"""Where a search for the learning rate had its runs, before this one."""


def claim(folder: Path, resume: bool) -> None:
    """A new run needs a folder without another run; a resumed one needs its recipe. What a run leaves that was killed
    before it had one (its lock, a recipe half written) is no run."""
    held = folder / RECIPE
    if resume and not held.exists():
        raise UsageError(f"There is no run to resume in {folder}: it has no {RECIPE}. Leave out --resume to start one.")
    if folder.exists() and not folder.is_dir():
        raise UsageError(f"{folder} is a file. Choose another --out: a folder, which is made where it does not exist.")
    if not resume and folder.exists() and any(
            entry.name not in (".lock", RATES) and not entry.name.startswith(".tmp-") for entry in folder.iterdir()):
        what = "already holds another run" if held.exists() else "is not empty"
        raise UsageError(f"{folder} {what}. Choose another --out" + (
            ", or go on with that run by --resume." if held.exists() else "."))
