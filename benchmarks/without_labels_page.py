"""The page docs/results/without-labels.md and its figure, out of the lines of docs/results/without-labels.jsonl."""

from __future__ import annotations

import statistics
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from machine import when_and_where
from results_page import Row, accuracy

if TYPE_CHECKING:
    from matplotlib.axes import Axes

NAME = "without-labels"
UNTRAINED, SCRATCH = "untrained", "scratch"
QUIET_RATE = 1_100.0  # images a second of this model with labels, on two quiet cores (docs/results.md)
WORDS = {
    "masked-color": "masked patches, mean color, 50 %", "masked-downsized": "masked patches, 4 x 4 pixels, 50 %",
    "masked-pixels": "masked patches, all pixels, 50 %", "masked-color-15": "masked patches, mean color, 15 %",
    "mae": "masked autoencoder, 75 %", "dino": "self-distillation (DINO)", "untrained": "untrained",
    "scratch": "from scratch",
}
STYLES = {"masked-color": ("#1f4fa3", "o", "-"), "masked-downsized": ("#1f4fa3", "s", "--"),
          "masked-pixels": ("#1f4fa3", "^", ":"), "masked-color-15": ("#6f8fc9", "o", "-."),
          "mae": ("#1f7a4d", "D", "-"), "dino": ("#b3263a", "v", "-"), "untrained": ("#888888", "x", ":"),
          "scratch": ("#222222", "P", "--")}

OPENING = """# Learning without labels

A budget of compute, that of some epochs of masked patches, goes into learning from the training images without
labels; then features are measured frozen, or fine-tuned with some labels. *From scratch* has the same images, labels
and model, and the compute of both. Test images are looked at once, at the end of each cell. This page is written by

```
python benchmarks/learning_without_labels.py    # the cells that docs/results/without-labels.jsonl lacks
```
"""
CLOSING = """Each number is a mean over seeds, of the weights and of which labels are given, with ± their standard
deviation and in brackets the lowest and the highest of them; where nothing stands beside it, it is of one seed.
Few-shot is also a mean over the three draws of the protocol. One learning rate each, that of the recipes (`pretrain`,
`finetune`, `default`): none was tuned on these images.
"""


def write_page(rows: list[Row], docs: Path) -> None:
    """A section for each budget, the largest first; only what was run."""
    docs.mkdir(parents=True, exist_ok=True)
    budgets = sorted({(row["epochs"], row["source"]) for row in rows}, key=lambda pair: -pair[0])
    parts = [part for epochs, source in budgets for part in section(
        [row for row in rows if (row["epochs"], row["source"]) == (epochs, source)], epochs, source, docs)]
    (docs / f"{NAME}.md").write_text("\n".join([OPENING, *parts, CLOSING]), encoding="utf-8")


def section(rows: list[Row], epochs: float, source: str, docs: Path) -> list[str]:
    figure = f"{NAME}-{epochs:g}.svg"
    draw(rows, docs / figure)
    name = "Fashion-MNIST" if source == "fashion" else source
    return [f"## {name}, the compute of {epochs:g} epochs", "", *findings(rows), *features_table(rows),
            *labels_table(rows), f"![Accuracy of frozen features, and after fine-tuning]({figure})", "",
            *pretraining_table(rows), *shared_words(rows)]


def findings(rows: list[Row]) -> list[str]:
    """What the tables say, in sentences: the order of frozen features, labels at which pre-training pays, and what the
    paper asks of masked patches."""
    scores, tests = means(gathered_scores(rows)), means(gathered_tests(rows))
    said = [*order_words(scores), *against_scratch(tests), *half_or_fewer(scores)]
    return [" ".join(said), ""] if said else []


def means(found: dict[str, dict[Any, list[float]]]) -> dict[str, dict[Any, float]]:
    return {name: {setting: statistics.mean(values) for setting, values in settings.items()}
            for name, settings in found.items()}


def order_words(scores: dict[str, dict[str, float]]) -> list[str]:
    """At the most shots that all were measured with."""
    shared = [setting for setting in next(iter(scores.values()), {}) if setting.endswith("shots")
              and all(setting in of for of in scores.values())]
    if not shared or len(scores) < 2:
        return []
    order = sorted(scores, key=lambda name: -scores[name][shared[-1]])
    said = [f"Frozen features at {shared[-1]}, best first: " + "; ".join(
        f"{WORDS[name]} ({100 * scores[name][shared[-1]]:.1f} %)" for name in order) + "."]
    worse = order[order.index(UNTRAINED) + 1:] if UNTRAINED in order else []
    words = "; ".join(WORDS[name] for name in worse)
    return said + ([f"No better than without any training: {words}."] if worse else [])


def against_scratch(tests: dict[str, dict[int, float]]) -> list[str]:
    """The best pre-trained model and the one from scratch, at each number of labels."""
    said = []
    for labels, scratch in sorted(tests.get(SCRATCH, {}).items()):
        others = {name: of[labels] for name, of in tests.items() if name != SCRATCH and labels in of}
        if others:
            best = max(others, key=lambda name: others[name])
            said.append(f"with {labels:,} labels {WORDS[best]} has {100 * others[best]:.1f} %, from scratch "
                        f"{100 * scratch:.1f} %")
    return [f"Fine-tuned: {'; '.join(said)}."] if said else []


def half_or_fewer(scores: dict[str, dict[str, float]]) -> list[str]:
    """Half of the patches corrupted, or 15 %, as the paper asks."""
    half, fewer = (scores.get(name, {}) for name in ("masked-color", "masked-color-15"))
    both = [setting for setting in half if setting in fewer]
    better = sum(half[setting] > fewer[setting] for setting in both)
    return [f"Half of the patches corrupted is better than 15 % in {better} of {len(both)} measurements of frozen "
            "features (the paper: better)."] if both else []


def features_table(rows: list[Row]) -> list[str]:
    """Frozen features: a row for each objective, a column for each shot and for the neighbors."""
    found = gathered_scores(rows)
    settings = list(dict.fromkeys(setting for scores in found.values() for setting in scores))
    if not settings:
        return []
    lines = ["| frozen features | " + " | ".join(settings) + " |", "|---|" + "---|" * len(settings)]
    for name in known(found):
        cells = [accuracy(found[name][setting]) if setting in found[name] else "-" for setting in settings]
        lines.append(f"| {WORDS[name]} | " + " | ".join(map(shorter, cells)) + " |")
    return [*lines, ""]


def gathered_scores(rows: list[Row]) -> dict[str, dict[str, list[float]]]:
    """objective -> "5 shots" or "knn k=20" -> a mean accuracy for each seed."""
    found: dict[str, dict[str, list[float]]] = {}
    for row in newest(rows, "probe"):
        for score in row["scores"]:
            label = score["setting"] if score["method"] == "few-shot" else f"{score['method']} {score['setting']}"
            found.setdefault(row["objective"], {}).setdefault(label, []).append(score["mean"])
    return found


def labels_table(rows: list[Row]) -> list[str]:
    found = gathered_tests(rows)
    counts = sorted({count for tests in found.values() for count in tests})
    if not counts:
        return []
    lines = ["| fine-tuned with labels | " + " | ".join(f"{count:,}" for count in counts) + " |",
             "|---|" + "---|" * len(counts)]
    for name in known(found):
        cells = [accuracy(found[name][count]) if count in found[name] else "-" for count in counts]
        lines.append(f"| {WORDS[name]} | " + " | ".join(map(shorter, cells)) + " |")
    return [*lines, ""]


def gathered_tests(rows: list[Row]) -> dict[str, dict[int, list[float]]]:
    """objective, or "scratch" -> labels -> test accuracy for each seed."""
    found: dict[str, dict[int, list[float]]] = {}
    for row in [*newest(rows, "finetune"), *newest(rows, "scratch")]:
        found.setdefault(row["objective"], {}).setdefault(row["labels"], []).append(row["test"])
    return found


def newest(rows: list[Row], kind: str) -> Iterable[Row]:
    """Of each cell the last line: another recipe under the same name takes the place of the older one."""
    return {(row["objective"], row["seed"], row.get("labels")): row for row in rows if row["kind"] == kind}.values()


def known(found: dict[str, Any]) -> list[str]:
    return [name for name in WORDS if name in found]


def shorter(cell: str) -> str:
    return cell.replace(" (one seed, so no spread)", "")


def pretraining_table(rows: list[Row]) -> list[str]:
    cells: dict[str, list[Row]] = {}
    for row in newest(rows, "pretrain"):
        cells.setdefault(row["objective"], []).append(row)
    if not cells:
        return []
    lines = ["| pre-training | images seen | FLOPs | loss on the test images | beyond a constant | seeds |",
             "|---|---|---|---|---|---|"]
    for name in known(cells):
        group = cells[name]
        beyond = [row["beyond_constant"] for row in group if row["beyond_constant"] is not None]
        lines.append(f"| {WORDS[name]} | {group[0]['samples']:,} | {group[0]['flops']:.2e} | "
                     f"{statistics.mean(row['loss'] for row in group):.4g} | "
                     f"{f'{100 * statistics.mean(beyond):.0f} %' if beyond else '-'} | {len(group)} |")
    return [*lines, ""]


def shared_words(rows: list[Row]) -> list[str]:
    beside = " Other programs computed beside some of these cells." if any(row["shared"] for row in rows) else ""
    return [f"Measured: {when_and_where(row['machine'] for row in rows)}.{beside}{cost_words(rows)}", ""]


def cost_words(rows: list[Row]) -> str:
    """What all cells of one seed compute, and how long that takes at the rate that is known of labeled images."""
    trained = [row for kind in ("pretrain", "finetune", "scratch") for row in newest(rows, kind) if "flops" in row]
    labeled = [row["flops"] / row["samples"] for row in trained if row["kind"] != "pretrain"]
    if not labeled:
        return ""
    total = sum(row["flops"] for row in trained if row["seed"] == min(row["seed"] for row in trained))
    minutes = total / statistics.median(labeled) / QUIET_RATE / 60
    return (f" The training of one seed is {total:.2g} FLOPs: {minutes:.0f} minutes at {QUIET_RATE:,.0f} labeled "
            "images a second, the rate of two quiet cores.")


def draw(rows: list[Row], path: Path) -> None:
    """Frozen features against shots on the left, fine-tuning against labels on the right; means over seeds."""
    from matplotlib import rc_context
    from matplotlib.figure import Figure

    few = {name: {int(setting.split()[0]): values for setting, values in scores.items() if "shot" in setting}
           for name, scores in gathered_scores(rows).items()}
    with rc_context({"svg.hashsalt": NAME, "font.size": 10}):
        figure = Figure(figsize=(10, 4.4), layout="constrained")
        left, right = figure.subplots(1, 2)
        curves(left, few, "images of each class")
        curves(right, gathered_tests(rows), "labels")
        left.set(title="frozen features, least squares", ylabel="test accuracy, %")
        right.set(title="fine-tuned; from scratch with the same compute")
        handles = {handle.get_label(): handle for axes in (left, right) for handle in axes.get_lines()
                   if not str(handle.get_label()).startswith("_")}
        if handles:
            figure.legend(list(handles.values()), list(map(str, handles)), loc="outside lower center", ncols=3,
                          frameon=False)
        figure.savefig(path, format="svg", facecolor="white", metadata={"Date": None})


def curves(axes: Axes, found: dict[str, dict[int, list[float]]], label: str) -> None:
    for name in known(found):
        color, marker, dash = STYLES[name]
        at = sorted(found[name])
        axes.plot(at, [100 * statistics.mean(found[name][count]) for count in at], color=color, marker=marker,
                  linestyle=dash, markersize=4, linewidth=1.2, label=WORDS[name])
    ticks = sorted({count for counts in found.values() for count in counts})
    axes.set_xscale("log")
    axes.set_xticks(ticks, [f"{tick:,}" for tick in ticks])
    axes.minorticks_off()
    axes.set_xlabel(label)
    axes.grid(axis="y", linewidth=0.5, color="#dddddd")
    axes.spines[["top", "right"]].set_visible(False)
