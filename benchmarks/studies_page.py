"""The page docs/results/studies.md, out of what the studies of docs/results/studies found."""

from __future__ import annotations

import json
import statistics
from collections.abc import Iterator
from pathlib import Path

from studies_claims import HEADINGS, Study, claims

from vitrail.studies.ledger import Ledger

RESULTS = Path(__file__).parents[1] / "docs" / "results"
FOLDER, PAGE = RESULTS / "studies", RESULTS / "studies.md"

OPENING = """# Studies on Fashion-MNIST

The paper's questions at a scale of two cores: small models for pictures of 28 x 28, trained from scratch for a few
epochs. What a longer training, larger models or more pictures would say is another matter; the ledger is here, so that
the same command goes on wherever there is more time:

```
python benchmarks/studies.py
```
"""


def write_page() -> None:
    """Of the studies that have an answer."""
    told = {path.parent.name: json.loads(path.read_text(encoding="utf-8")) for path in sorted(
        FOLDER.glob("*/study.json"))}
    foretold = next((study for study in told.values() if "--upto" in study["options"]), None)
    whole = {study["study"]: (name, study) for name, study in told.items() if "--upto" not in study["options"]}
    parts = [OPENING, cost(), *claims([study for _, study in whole.values()])]
    for kind, heading in HEADINGS.items():
        if kind in whole:
            parts += section(heading, *whole[kind])
            if kind == "data" and foretold is not None:
                parts += prediction(foretold, whole[kind][1])
    PAGE.write_text("\n\n".join(part.strip("\n") for part in parts) + "\n", encoding="utf-8")


def cost() -> str:
    rows = list(Ledger(FOLDER).rows().values())
    spent = [row["cost"] for row in rows if "cost" in row]
    hours = sum(one["seconds"] for one in spent) / 3600
    macs = [row["macs"] / 1e6 for row in rows if "macs" in row]
    return (f"So far {len(rows)} runs of models of {min(macs):.2g} to {max(macs):.2g} million multiply-adds saw "
            f"{sum(one['samples'] for one in spent):,} images in {hours:.1f} hours of one core each, beside other "
            "programs, so these are no measurements of speed.")


def section(heading: str, folder: str, study: Study) -> Iterator[str]:
    yield f"## {heading}"
    yield "\n\n".join(study["sentences"])
    yield "\n".join(f"- {words}" for words in (*study["doubts"], *study["notes"]))
    figures = sorted((FOLDER / folder).glob("*.svg"))
    yield "\n\n".join(f"![{heading}](studies/{folder}/{figure.name})" for figure in figures)
    yield f"Tables and more figures: [studies/{folder}/study.md](studies/{folder}/study.md)."


def prediction(foretold: Study, whole: Study) -> Iterator[str]:
    """What the smaller parts said of the largest one, and what was measured there."""
    largest = whole["sizes"][-1]
    measured = {model["model"]: [point["error"] for point in model["points"] if point["images"] == largest]
                for model in whole["models"]}
    yield f"### Foretold from at most {foretold['sizes'][-1]:,} images, then measured with {largest:,}"
    rows = []
    for model in foretold["models"]:
        error, found = model["at"][str(largest)], measured.get(model["model"], [])
        mean = statistics.mean(found) if found else None
        inside = "" if mean is None else "within" if error["low"] <= mean <= error["high"] else "outside"
        said = f"{share(error['expected'])} ({share(error['high'])} to {share(error['low'])})"
        trusted = "held" if model["backtest"]["held"] else "failed: it said not to trust it"
        found_words = "not yet" if mean is None else share(mean)
        rows.append(f"| {model['model']} | {said} | {found_words} | {inside} | {trusted} |")
    yield "\n".join(["| model | foretold | measured | interval | back-test before it was measured |",
                     "|---|---|---|---|---|", *rows])


def share(error: float) -> str:
    return f"{100 * (1 - error):.1f} %"
