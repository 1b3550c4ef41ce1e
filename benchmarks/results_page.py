"""The page docs/results.md and its figure, out of the lines of docs/results/fashion.jsonl."""

from __future__ import annotations

import json
import statistics
from collections import defaultdict
from pathlib import Path
from typing import Any

Row = dict[str, Any]
DOCS = Path(__file__).parents[1] / "docs"
LEDGER, FIGURE, PAGE = DOCS / "results" / "fashion.jsonl", DOCS / "results" / "fashion.svg", DOCS / "results.md"
WORDS = {"vit": "ViT", "bit": "BiT", "hybrid": "hybrid"}
COLORS = {"vit": "#1f4fa3", "bit": "#b3263a", "hybrid": "#1f7a4d"}
LINES = ("-", "--", ":")  # by length of the run
GOAL = 0.90

OPENING = """# Results

From this repository's own runs, on two cores of a CPU:

- from scratch, three families in the same time: this page
- learning without labels, six ways, and from scratch with the same compute:
  [results/without-labels.md](results/without-labels.md)
- the features of a published backbone: [results/backbone.md](results/backbone.md)
- how much data, how much compute, and the paper's ablations: [results/studies.md](results/studies.md)

## From scratch, on Fashion-MNIST

54,000 training images, 6,000 held out of them for the curve, and the 10,000 test images, which
are looked at once in each run, at its end. The default recipe for every family, each as many steps as fit into the
ViT's time. This page is written by

```
python benchmarks/results.py --time     # images a second, on a quiet machine
python benchmarks/results.py            # the cells that docs/results/fashion.jsonl lacks; goes on when stopped
```
"""
MINUTES = """Minutes are images seen divided by the rate at the end of this page: training alone, without the looks at
held-out images on the way.
"""
SHARED = "These cells were trained beside other programs, so their own clock is no measurement:\n"

Cells = dict[tuple[float, str], list[Row]]


def read_ledger(path: Path) -> list[Row]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()] if path.exists() else []


def append(path: Path, row: Row) -> Row:
    path.parent.mkdir(parents=True, exist_ok=True)
    with open(path, "a", encoding="utf-8") as file:
        file.write(json.dumps(row) + "\n")
    return row


def rate_of(rows: list[Row], model: str) -> float:
    """Images a second by the newest measurement."""
    rates = [row["images_per_second"] for row in rows if row["kind"] == "rate" and row["model"] == model]
    if not rates:
        raise SystemExit(f"The rate of {model} is not known. Measure it first, on a quiet machine: --time")
    return rates[-1]


def write_page(rows: list[Row]) -> None:
    """Only what was run: a seed that is not done is absent, and the table counts those that are."""
    cells: Cells = defaultdict(list)
    for row in rows:
        if row["kind"] == "cell":
            cells[row["vit_epochs"], row["model"]].append(row)
    if cells:
        draw(cells, rows)
    PAGE.write_text("\n".join([OPENING, *table(cells, rows), MINUTES, *shared_words(cells), *curve_words(cells),
                               *rates_words(rows)]) + "\n", encoding="utf-8")


def table(cells: Cells, rows: list[Row]) -> list[str]:
    lines = ["| model | the time of the ViT's | training, quiet machine | images seen | seeds | test accuracy |",
             "|---|---|---|---|---|---|"]
    for (epochs, model), group in in_order(cells):
        samples = group[0]["samples"]
        minutes = samples / rate_of(rows, model) / 60
        lines.append(f"| {WORDS[model]}: `{group[0]['name']}` | {epochs:g} epochs | {minutes:.1f} min | "
                     f"{samples:,} | {len(group)} | {accuracy([row['test'] for row in group])} |")
    return [*lines, ""]


def in_order(cells: Cells) -> list[tuple[tuple[float, str], list[Row]]]:
    """Longest runs first, families in the order of WORDS."""
    return sorted(cells.items(), key=lambda item: (-item[0][0], list(WORDS).index(item[0][1])))


def accuracy(values: list[float]) -> str:
    """Mean, and over several seeds their standard deviation, in percent."""
    mean = f"{100 * statistics.mean(values):.2f}"
    if len(values) == 1:
        return f"{mean} % (one seed, so no spread)"
    return f"{mean} ± {100 * statistics.stdev(values):.2f} % ({100 * min(values):.2f} to {100 * max(values):.2f})"


def shared_words(cells: Cells) -> list[str]:
    told = [f"- {WORDS[model]}, seed {row['seed']}: {row['steps']:,} steps, {row['threads']} of {row['cores']} cores, "
            f"{row['clock_seconds'] / 60:.1f} min on the clock"
            for (_, model), group in in_order(cells) for row in group if row["shared"]]
    return [SHARED, *told, ""] if told else []


def curve_words(cells: Cells) -> list[str]:
    return ["![Accuracy against minutes of training](results/fashion.svg)", ""] if cells else []


def rates_words(rows: list[Row]) -> list[str]:
    newest = {row["model"]: row for row in rows if row["kind"] == "rate"}
    told = [f"| {WORDS[model]} | {row['images_per_second']:,.0f} ({row['lowest']:,.0f} to {row['highest']:,.0f}, "
            f"{row['rounds']} rounds in turn) | {row['machine']} |" for model, row in newest.items()]
    return ["| images a second in training | median | measured |", "|---|---|---|", *told] if told else []


def draw(cells: Cells, rows: list[Row]) -> None:
    """Held-out accuracy after each epoch against minutes; one line a seed."""
    from matplotlib import rc_context
    from matplotlib.figure import Figure

    with rc_context({"svg.hashsalt": "results", "font.size": 10}):
        figure = Figure(figsize=(7, 4), layout="constrained")
        axes = figure.subplots()
        lengths = sorted({epochs for epochs, _ in cells}, reverse=True)
        for (epochs, model), group in in_order(cells):
            for number, row in enumerate(group):
                minutes = [samples / rate_of(rows, model) / 60 for samples, _ in row["curve"]]
                axes.plot(minutes, [100 * value for _, value in row["curve"]], marker="o", markersize=3, linewidth=1.2,
                          linestyle=LINES[lengths.index(epochs) % len(LINES)], color=COLORS[model],
                          label=f"{WORDS[model]}, time of {epochs:g} epochs of the ViT" if number == 0 else None)
        axes.axhline(100 * GOAL, color="#888888", linewidth=0.8, linestyle=":")
        axes.set(xlabel="minutes of training on two quiet cores", ylabel="accuracy on held-out images, %",
                 xlim=(0, None))
        axes.legend(loc="lower right", frameon=False)
        axes.spines[["top", "right"]].set_visible(False)
        figure.savefig(FIGURE, format="svg", facecolor="white", metadata={"Date": None})
