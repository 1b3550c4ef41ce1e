"""What are the frozen features worth now? Few-shot and nearest neighbors in the middle of a run, and at its end."""

from __future__ import annotations

import statistics
import time
from collections.abc import Iterator
from contextlib import closing
from typing import NamedTuple

import numpy as np

from vitrail.bundle import Bundle
from vitrail.data.loader import in_order
from vitrail.data.source import Split
from vitrail.evaluation.frozen.features import embedded
from vitrail.evaluation.frozen.few_shot import ridge
from vitrail.evaluation.frozen.neighbors import by_neighbors
from vitrail.evaluation.frozen.trials import Trial
from vitrail.events import Event, FeaturesMeasured, Noted
from vitrail.training.compiled import eagerly
from vitrail.training.journal import Journal
from vitrail.vocabulary import Progress
from vitrail.workshop import NEIGHBORS, Probe, Workshop


class Seen(NamedTuple):
    """Features [images, width], and which images of the split they are of."""

    values: np.ndarray
    rows: np.ndarray


def probe(shop: Workshop, journal: Journal, bundle: Bundle) -> Iterator[Event]:
    """Measure the bundle's features, with a row in the journal; nothing where a signal comes meanwhile. Every process
    makes features of its part of the images, and the first one learns from all of them (collective)."""
    asked = shop.probe
    assert asked is not None
    train = features_now(shop, bundle, asked.train)
    test = features_now(shop, bundle, asked.test) if train is not None else None
    shop.heed()
    if train is None or test is None:
        return
    scores = shop.world.told(scores_of(asked, train, test) if shop.world.first else {})
    if not scores:
        yield Noted(f"After step {shop.step:,}: the features cannot be measured, since too few of the images of "
                    f"{asked.source.spec} can be read or the features are not finite numbers.")
        return
    journal.write({"step": shop.step, "samples": shop.samples} | {f"probe/{key}": value
                                                                  for key, value in scores.items()})
    shop.probed = FeaturesMeasured(shop.step, asked.source.spec, asked.measured_on, scores, len(asked.test))
    yield shop.probed


def features_now(shop: Workshop, bundle: Bundle, images: Split) -> Seen | None:
    """Of every image that can be read, by all processes; None where a signal asks one of them to stop (collective)."""
    part = np.array_split(np.arange(len(images)), shop.world.size)[shop.world.rank]
    with eagerly(shop.recipe.training.compile):
        parts = shop.world.gathered(own_features(shop, bundle, images, part))
    if any(one is None for one in parts):
        return None
    held = [one for one in parts if one is not None and len(one.rows)]
    if not held:
        return Seen(np.empty((0, 1), np.float32), np.empty(0, np.int64))
    return Seen(np.concatenate([one.values for one in held]), np.concatenate([one.rows for one in held]))


def own_features(shop: Workshop, bundle: Bundle, images: Split, part: np.ndarray) -> Seen | None:
    values, rows, done, began = [np.empty((0, 1), np.float32)], [np.empty(0, np.int64)], 0, time.perf_counter()
    if len(part):
        size = shop.recipe.evaluation.batch_size
        with closing(in_order(images.subset(part), bundle.preprocess, size)) as stream:  # type: ignore[type-var]
            for raw, indices, failed in stream:
                if shop.interrupts or shop.interrupts.received:
                    return None
                if len(indices):
                    values.append(embedded(bundle, raw, "embedding").numpy())
                    rows.append(part[indices.numpy()])
                done += len(indices) + len(failed)
                shop.watch("features", Progress(done, len(part), done / max(time.perf_counter() - began, 1e-9)))
    return Seen(np.concatenate(values[1:] or values), np.concatenate(rows))


def scores_of(asked: Probe, train: Seen, test: Seen) -> dict[str, float]:
    """Accuracy by method, the mean over draws; an image of the test that cannot be read is a wrong answer. Empty where
    nothing can be learned or asked."""
    if not (len(train.rows) and len(test.rows) and np.isfinite(train.values).all() and np.isfinite(test.values).all()):
        return {}
    place = np.full(len(asked.train), -1)
    place[train.rows] = np.arange(len(train.rows))
    found: dict[str, list[float]] = {}
    for trial in asked.trials:
        at = place[trial.rows]
        at = at[at >= 0]
        if len(at):
            labels = asked.train.labels[train.rows[at]]
            said = answered(trial, train.values[at], labels, len(asked.source.classes), test.values)
            right = int((said == asked.test.labels[test.rows]).sum()) / len(asked.test)
            found.setdefault(f"few_shot_{trial.shots}" if trial.shots else f"knn_{NEIGHBORS}", []).append(right)
    return {name: statistics.fmean(values) for name, values in found.items()}


def answered(trial: Trial, values: np.ndarray, labels: np.ndarray, classes: int, test: np.ndarray) -> np.ndarray:
    if trial.method == "few-shot":
        return ridge(values, labels, classes).predict(test)
    return by_neighbors(values, labels, classes, test, (NEIGHBORS,))[NEIGHBORS]
