"""Small things that several tests train: digits at 8 x 8 pixels and a one-layer model, a few milliseconds a step."""

from __future__ import annotations

from contextlib import nullcontext
from pathlib import Path
from typing import Any
from unittest.mock import patch

from vitrail.data.augment import Augmentation
from vitrail.data.preprocess import Preprocess
from vitrail.events import Event, Finished
from vitrail.recipe import DataSettings, ModelSettings, Recipe, TrainingSettings
from vitrail.run import run
from vitrail.training.guard import Interrupts
from vitrail.training.optimizer import OptimizerSettings
from vitrail.training.schedule import Schedule


def tiny_recipe(**changes: Any) -> Recipe:
    """Ten steps on digits; `changes` are dotted settings."""
    recipe = Recipe(
        data=DataSettings(source="digits"),
        model=ModelSettings(name="mu/4", settings={"dropout": 0.1}),
        preprocess=Preprocess(size=8),
        augmentation=Augmentation(crop="pad"),
        optimizer=OptimizerSettings(learning_rate=3e-3),
        schedule=Schedule(steps=10),
        training=TrainingSettings(batch_size=64, precision="fp32", log_every=1),
    )
    return recipe.replaced({name.replace("__", "."): value for name, value in changes.items()})


def train(recipe: Recipe, folder: Path, *, stop_after: int | None = None, report: bool = False,
          **options: Any) -> list[Event]:
    """All events of a run; after `stop_after` steps the run is asked to stop, as by Ctrl-C.

    Without `report` its page is not drawn, which takes longer than the training.
    """
    interrupts = Interrupts()
    events = []
    with nullcontext() if report else patch("vitrail.run.ending.write_report"):
        for event in run(recipe, folder, interrupts=interrupts, **options):
            events.append(event)
            if stop_after is not None and getattr(getattr(event, "step", None), "step", 0) == stop_after:
                interrupts.signal = 2
    return events


def last(events: list[Event]) -> Finished:
    assert isinstance(events[-1], Finished)
    return events[-1]
