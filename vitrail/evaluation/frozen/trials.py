"""Which images a readout of frozen features learns from: few of each class, or as many as there may be, by seed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from vitrail.data.source import Source
from vitrail.data.split import few_shot_rows
from vitrail.evaluation.align import class_counts, listed


class Trial(NamedTuple):
    """One draw of training images for one method: `rows` of the training split."""

    method: str
    shots: int | None
    seed: int
    rows: np.ndarray


def trials_of(labels: np.ndarray, methods: Sequence[str], shots: Sequence[int], seeds: int,
              examples: int | None) -> list[Trial]:
    """Which images each method learns from. Few-shot: `shots` of each class by `seeds` seeds. The others: all images
    once, or where there are more than `examples`, as many by each seed."""
    found = []
    for method in methods:
        if method == "few-shot":
            found += [Trial(method, count, seed, few_shot_rows(labels, count, seed))
                      for count in shots for seed in range(seeds)]
        elif examples is None or examples >= len(labels):
            found.append(Trial(method, None, 0, np.arange(len(labels))))
        else:
            orders = [np.random.default_rng(seed).permutation(len(labels)) for seed in range(seeds)]
            found += [Trial(method, None, seed, np.sort(order[:examples])) for seed, order in enumerate(orders)]
    return found


def probe_name(key: str) -> str:
    """"few_shot_10" and "knn_20", as a run measures and writes them, in words."""
    method, _, number = key.rpartition("_")
    return {"few_shot": f"{number}-shot", "knn": f"{number} nearest neighbors"}.get(method, key)


def small_classes(source: Source, shots: Sequence[int]) -> list[str]:
    """Where classes have fewer images than shots were asked for."""
    counts = class_counts(source.splits["train"].labels, len(source.classes))
    notes = []
    for wanted in shots:
        small = [name for name, count in zip(source.classes, counts, strict=True) if count < wanted]
        if small:
            has = "has" if len(small) == 1 else "have"
            notes.append(f"{wanted} shots on {source.spec}: {listed(small, 3)} {has} fewer images to learn from, down "
                         f"to {counts.min()}; all of them are taken.")
    return notes
