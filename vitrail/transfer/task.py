"""A source as a task for frozen features: which images are learned from, which are asked, and what to know of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from vitrail.bundle import Bundle
from vitrail.data.source import Source, Split, open_source
from vitrail.errors import DataError
from vitrail.evaluation.frozen.trials import small_classes
from vitrail.evaluation.own_data import own_data


@dataclass(frozen=True)
class Task:
    """`train` and `test` are names of splits of `source`."""

    source: Source
    train: str
    test: str
    notes: tuple[str, ...]

    @property
    def spec(self) -> str:
        return self.source.spec

    @property
    def train_split(self) -> Split:
        return self.source.splits[self.train]

    @property
    def test_split(self) -> Split:
        return self.source.splits[self.test]


def open_task(bundle: Bundle, spec: str, shots: Sequence[int]) -> Task:
    """Everything that is not held out is learned from, but for the data of the Bundle's own run, which keep the splits
    they had. Raises DataError for images without labels or with several, and where there is nothing to measure on."""
    opened_then = own_data(bundle, spec)
    source = open_source(spec, validation=0.0) if opened_then is None else open_source(spec, **opened_then)
    if source.multilabel:
        raise DataError(f"{spec} has several labels a picture, and a probe needs one. Measure such a source with "
                        "vitrail train and vitrail evaluate.")
    test = next((name for name in ("test", "val") if name in source.splits), None)
    if test is None or "train" not in source.splits:
        raise DataError(f"{spec} has {' and '.join(source.splits)} only. A probe learns from train and measures on "
                        "test (or val): give a source with both, or without splits, which are then made.")
    notes = list(source.warnings)
    if test == "val":
        notes.append(f"{spec} has no test split: measured on val.")
    if opened_then is not None:
        learned = bundle.provenance["recipe"]["data"].get("labeled", True)
        labels = "with its labels" if learned else "without its labels"
        notes.append(f"the model was trained on {spec} {labels}; only its {test} images are new to it.")
    notes += small_classes(source, shots)
    return Task(source, "train", test, tuple(notes))
