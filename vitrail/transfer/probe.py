"""Frozen features of a trained model, measured on one or several sources.

    plan = plan_probe(bundle, ["photos/"])    what will be done: nothing has been computed yet
    see(plan) -> tuple[Seen, ...]             the frozen features of each source, also by several processes
    measure(plan) -> Probed                   accuracy of each method with its interval
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple, get_args

import numpy as np

from vitrail.bundle import Bundle
from vitrail.errors import DataError, UnknownNameError, UsageError
from vitrail.evaluation import Unread
from vitrail.evaluation.frozen.features import Features, Layer, features
from vitrail.evaluation.frozen.few_shot import ridge
from vitrail.evaluation.frozen.linear import linear
from vitrail.evaluation.frozen.logistic import logistic
from vitrail.evaluation.frozen.neighbors import TEMPERATURE, by_neighbors
from vitrail.evaluation.frozen.together import ALONE, Processes
from vitrail.evaluation.frozen.trials import Trial, trials_of
from vitrail.transfer.scores import Measured, Probed, Score, scored, suite_of
from vitrail.transfer.task import Task, open_task
from vitrail.transfer.tuning import Tuning, checked, tuned_accuracy
from vitrail.vocabulary import Progress

METHODS = {
    "few-shot": "least squares from a few images a class, in closed form",
    "knn": "nearest neighbors",
    "linear": "a linear layer by SGD, its learning rate chosen on a fifth of the training images",
    "logistic": "logistic regression, its penalty chosen on a fifth of the training images",
    "finetune": "the whole model goes on learning",
}

SUITE_EXAMPLES = 1_000
"""Training images of each source where there are several, as in VTAB (1910.04867)."""

Watch = Callable[[str, Progress], None]


@dataclass(frozen=True)
class Plan:
    """What will be measured. `examples`: at most so many training images of each source, None for all. `tuning`: how
    the model is fine-tuned, where that is one of the methods."""

    bundle: Bundle
    tasks: tuple[Task, ...]
    methods: tuple[str, ...]
    shots: tuple[int, ...]
    seeds: int
    examples: int | None
    neighbors: tuple[int, ...]
    temperature: float
    layer: Layer
    cache: Path | None
    batch_size: int
    tuning: Tuning | None = None

    @property
    def notes(self) -> tuple[str, ...]:
        return (*(note for task in self.tasks for note in task.notes), *self.few_neighbors())

    def few_neighbors(self) -> list[str]:
        """What to say where fewer images can vote than should."""
        most = max(self.neighbors) if "knn" in self.methods else 0
        there = [(task.spec, min(len(task.train_split), self.examples or len(task.train_split))) for task in self.tasks]
        return [f"{spec}: {most} neighbors are to vote, and there are {images:,} training images: all of them do"
                for spec, images in there if images < most]


class Seen(NamedTuple):
    """What is asked of the features of one source."""

    trials: list[Trial]
    train: Features
    test: Features


class Answered(NamedTuple):
    """What one method says of the test images. `chosen`: what its dev split chose, if it has one."""

    setting: str
    predicted: np.ndarray
    chosen: float | None = None


def plan_probe(bundle: Bundle, sources: Sequence[str], *, methods: Sequence[str] = ("few-shot", "knn"),
               shots: Sequence[int] = (1, 5, 10, 25), seeds: int = 3, examples: int | None = None,
               neighbors: Sequence[int] = (20,), temperature: float = TEMPERATURE,
               layer: Layer = "embedding", cache: Path | None = None, batch_size: int = 64,
               tuning: Tuning | None = None) -> Plan:
    """Open the sources and check what was asked for. `examples`: 1,000 where there are several sources, else all.

    Raises UsageError for what cannot be asked, DataError for sources that cannot be learned from.
    """
    refuse_nonsense(sources, methods, shots, seeds, neighbors, temperature, examples)
    if layer not in get_args(Layer):
        raise UnknownNameError("layer", layer, get_args(Layer))
    if "finetune" in methods and tuning is None:
        raise UsageError("Fine-tuning starts from a file, so that its runs can go on. Give the path of the model, not "
                         "a Bundle in memory.")
    several = tuple(sources)
    if twice := next((spec for spec in several if several.count(spec) > 1), None):
        raise UsageError(f"{twice} is given twice, and each source counts once. Leave one out.")
    if examples is None and len(several) > 1:
        examples = SUITE_EXAMPLES
    counts = tuple(sorted(set(shots))) if "few-shot" in methods else ()
    tasks = tuple(open_task(bundle, spec, counts) for spec in several)
    return Plan(bundle, tasks, tuple(dict.fromkeys(methods)), counts, seeds, examples, tuple(sorted(set(neighbors))),
                temperature, layer, cache, batch_size,
                checked(tuning) if "finetune" in methods and tuning else None)


def refuse_nonsense(sources: Sequence[str], methods: Sequence[str], shots: Sequence[int], seeds: int,
                    neighbors: Sequence[int], temperature: float, examples: int | None) -> None:
    if not sources:
        raise UsageError("There is nothing to measure on. Give one or more sources: vitrail probe BUNDLE photos/")
    if not methods:
        raise UsageError(f"No method was given. Give one or more of {', '.join(METHODS)}.")
    for method in methods:
        if method not in METHODS:
            raise UnknownNameError("method", method, METHODS)
    asked = {"shots": shots, "neighbors": neighbors, "seeds": [seeds],
             "examples": [1 if examples is None else examples]}
    for name, numbers in asked.items():
        if not numbers or min(numbers) < 1:
            raise UsageError(f"{name}: {', '.join(map(str, numbers)) or 'nothing'} was given; whole numbers from 1 on "
                             "are possible.")
    if not 0 < temperature < float("inf"):
        raise UsageError(f"temperature {temperature} is not possible: it must be above 0 (DINO votes with 0.07).")


def see(plan: Plan, watch: Watch | None = None, processes: Processes = ALONE) -> tuple[Seen, ...]:
    """The features that the plan needs, for each source; nothing where it only fine-tunes. With several `processes`
    (collective) the first one has them. `watch`: what is being done, and how far it is."""
    frozen = tuple(method for method in plan.methods if method != "finetune")
    return tuple(seen_of(plan, task, frozen, watch, processes) for task in plan.tasks if frozen)


def seen_of(plan: Plan, task: Task, methods: Sequence[str], watch: Watch | None, processes: Processes) -> Seen:
    trials = trials_of(task.train_split.labels, methods, plan.shots, plan.seeds, plan.examples)
    rows = np.unique(np.concatenate([trial.rows for trial in trials]))
    train = features_of(plan, task, task.train, rows if len(rows) < len(task.train_split) else None, watch, processes)
    return Seen(trials, train, features_of(plan, task, task.test, None, watch, processes))


def measure(plan: Plan, watch: Watch | None = None, seen: Sequence[Seen] | None = None) -> Probed:
    """Everything of the plan. `seen`: the features, where there are some already. `watch`: as of `see`."""
    seen = see(plan, watch) if seen is None else seen
    measured: list[Measured] = []
    scores: list[Score] = []
    width = plan.bundle.model.config.embedding
    for place, task in enumerate(plan.tasks):
        unread: tuple[Unread, ...] = ()
        if seen:
            trials, train, test = seen[place]
            scores += score_trials(plan, task, trials, train, test, watch)
            width, unread = train.values.shape[1], (*train.unread, *test.unread)
        if plan.tuning is not None:
            scores += score_tuning(plan, plan.tuning, task, watch)
        measured.append(Measured(source=task.spec, kind=task.source.kind, classes=len(task.source.classes),
                                 train=len(task.train_split), test=len(task.test_split), unread=unread))
    return Probed(model=plan.bundle.model.config.name, layer=plan.layer, width=width, sources=tuple(measured),
                  scores=tuple(scores), suite=suite_of(scores, measured), notes=plan.notes)


def score_tuning(plan: Plan, tuning: Tuning, task: Task, watch: Watch | None) -> list[Score]:
    """The accuracy after fine-tuning, for each number of images; as many draws as the other methods have."""
    labels, images, scores = task.train_split.labels, len(task.test_split), []
    for count in dict.fromkeys(len(labels) if asked is None else min(asked, len(labels)) for asked in (
            count or plan.examples for count in tuning.counts)):
        found = []
        for trial in trials_of(labels, ["finetune"], (), plan.seeds, count):
            refuse_single_class(task, labels[trial.rows])
            found.append(tuned_accuracy(tuning, task, trial.rows, trial.seed, plan.bundle.preprocess.size, watch))
        setting = f"{count:,} images" if tuning.images else ""
        scores.append(scored(found, images, source=task.spec, method="finetune", setting=setting, shots=None,
                             images=count))
    return scores


def refuse_single_class(task: Task, labels: np.ndarray) -> None:
    if len(np.unique(labels)) < 2:
        raise DataError(f"{task.spec}: the {len(labels)} training images of this draw have a single class, and there "
                        "is nothing to tell it from. Take more images, or add some of another class.")


def features_of(plan: Plan, task: Task, split: str, rows: np.ndarray | None, watch: Watch | None,
                processes: Processes) -> Features:
    progress = None if watch is None else lambda at: watch(f"features of {task.spec} ({split})", at)
    return features(plan.bundle, task.source, split, rows=rows, layer=plan.layer, cache=plan.cache,
                    batch_size=plan.batch_size, progress=progress, processes=processes)


def score_trials(plan: Plan, task: Task, trials: Sequence[Trial], train: Features, test: Features,
                 watch: Watch | None) -> list[Score]:
    """The accuracy of every trial, those of one setting together."""
    place = np.full(len(task.train_split), -1)
    place[train.rows] = np.arange(len(train))
    images = len(task.test_split)
    found: dict[tuple[str, str, int | None], list[tuple[float, int, float | None]]] = {}
    started = time.perf_counter()
    for done, trial in enumerate(trials, start=1):
        at = place[trial.rows]
        at = at[at >= 0]  # a picture that cannot be read is not learned from, and nothing stands in for it
        values = train.values if len(at) == len(train) else train.values[at]
        labels = train.labels if len(at) == len(train) else train.labels[at]
        refuse_single_class(task, labels)
        for answered in answers(plan, trial, values, labels, len(task.source.classes), test.values):
            right = int((answered.predicted == test.labels).sum()) / images
            key = (trial.method, answered.setting, trial.shots)
            found.setdefault(key, []).append((right, len(labels), answered.chosen))
        if watch is not None:
            watch(f"probing {task.spec}", Progress(done, len(trials), done / (time.perf_counter() - started)))
    return [scored([right for right, _, _ in draws], images, source=task.spec, method=method, setting=setting,
                   shots=shots, images=max(count for _, count, _ in draws),
                   chosen=tuple(chosen for _, _, chosen in draws if chosen is not None))
            for (method, setting, shots), draws in found.items()]


def answers(plan: Plan, trial: Trial, values: np.ndarray, labels: np.ndarray, classes: int,
            test: np.ndarray) -> Iterator[Answered]:
    match trial.method:
        case "few-shot":
            noun = "shot" if trial.shots == 1 else "shots"
            yield Answered(f"{trial.shots} {noun}", ridge(values, labels, classes).predict(test))
        case "knn":
            predicted = by_neighbors(values, labels, classes, test, plan.neighbors, plan.temperature)
            yield from (Answered(f"k={k}", votes) for k, votes in predicted.items())
        case "linear":
            readout, rate = linear(values, labels, classes, trial.seed)
            yield Answered("", readout.predict(test), rate)
        case "logistic":
            readout, penalty = logistic(values, labels, classes, trial.seed)
            yield Answered("", readout.predict(test), penalty)
