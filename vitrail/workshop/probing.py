"""The images on which a run's frozen features are measured while it goes: chosen once, few enough, always the same."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from vitrail.data.source import Source, Split, open_source
from vitrail.errors import DataError
from vitrail.evaluation.frozen.trials import Trial, small_classes, trials_of
from vitrail.recipe import Recipe

NEIGHBORS = 20
DRAWS = 3
"""Of few-shot, as the reference has them, where so many images may be read."""


@dataclass(frozen=True)
class Probe:
    """`trials` learn from images of `train`, by their places in it, and are asked about those of `test`, which is a
    part of the split `measured_on`."""

    source: Source
    train: Split
    test: Split
    measured_on: str
    trials: tuple[Trial, ...]
    notes: tuple[str, ...]

    @property
    def images(self) -> int:
        """That go through the model each time."""
        return len(self.train) + len(self.test)


def open_probe(recipe: Recipe, source: Source) -> Probe | None:
    """None where the recipe asks for none. Few-shot draws from all of train, as the reference does, with fewer seeds
    where `probe_images` are passed; as many of train vote, and as many of val (or test) are asked.

    Raises DataError where the images have no labels or several, and where there is nothing to measure on.
    """
    settings = recipe.evaluation
    if settings.probe_every is None:
        return None
    chosen = source if settings.probe_on is None else labeled_source(recipe, settings.probe_on)
    refuse_unlabeled(chosen, own=settings.probe_on is None)
    asked = next((name for name in ("val", "test") if name in chosen.splits), None)
    if asked is None:
        raise DataError(f"{chosen.spec} holds nothing out, and a probe is asked about images that it did not learn "
                        "from. Name another source: --probe-on SOURCE; or leave out --probe-every.")
    train, test, most = chosen.splits["train"], chosen.splits[asked], settings.probe_images
    shots = tuple(sorted(set(settings.probe_shots)))
    draws = min(DRAWS, max(1, most // (max(shots) * len(chosen.classes))))
    trials = [*trials_of(train.labels, ["few-shot"], shots, draws, None),
              *trials_of(train.labels, ["knn"], (), 1, most)]
    rows = np.unique(np.concatenate([trial.rows for trial in trials]))
    placed = tuple(trial._replace(rows=np.searchsorted(rows, trial.rows)) for trial in trials)
    return Probe(chosen, train.subset(rows), test.subset(some(len(test), most)), asked, placed,
                 tuple(small_classes(chosen, shots)))


def labeled_source(recipe: Recipe, spec: str) -> Source:
    """The run's own images keep the splits that they have in it."""
    own = recipe.data
    if Path(spec).resolve() == Path(own.source).resolve():
        return own.model_copy(update={"labeled": True}).open()
    return open_source(spec)


def refuse_unlabeled(source: Source, own: bool) -> None:
    instead = "Name a labeled source: --probe-on SOURCE; or leave out --probe-every." if own else (
        "Give --probe-on another source.")
    if len(source.classes) < 2:
        raise DataError(f"{source.spec} has {'a single class' if source.classes else 'no labels'}, and a probe tells "
                        f"classes apart. {instead}")
    if source.multilabel:
        raise DataError(f"{source.spec} has several labels a picture, and a probe needs one. {instead}")


def some(images: int, most: int) -> np.ndarray:
    """All of them, or as many from all over them."""
    if images <= most:
        return np.arange(images)
    return np.sort(np.random.default_rng(0).permutation(images)[:most])


def probe_words(recipe: Recipe, probe: Probe | None) -> str | None:
    """How often, and what it takes."""
    if probe is None:
        return None
    few = [trial for trial in probe.trials if trial.method == "few-shot"]
    voters = next(len(trial.rows) for trial in probe.trials if trial.method == "knn")
    shots = ", ".join(str(shot) for shot in dict.fromkeys(trial.shots for trial in few))
    draws = len({trial.seed for trial in few})
    return (f"frozen features every {recipe.evaluation.probe_every:g} epochs on {probe.source.spec}: few-shot "
            f"({shots} of each class, {draws} draw{'s' if draws > 1 else ''}) and the {NEIGHBORS} nearest of "
            f"{voters:,} images, asked about {len(probe.test):,} ({probe.measured_on}); {probe.images:,} images each "
            "time")
