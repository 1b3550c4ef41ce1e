"""Where a run is made ready: `set_up(recipe, source, ...)` -> Workshop, whose `trained_bundle` comes out at the end."""

from __future__ import annotations

from vitrail.workshop.beginning import build_objective
from vitrail.workshop.mistakes import known_mistakes
from vitrail.workshop.probing import NEIGHBORS, Probe, probe_words
from vitrail.workshop.set_up import set_up
from vitrail.workshop.shop import (
    Watch,
    Workshop,
    circumstances,
    prepared,
    start_words,
    trained_bundle,
    trained_state,
)
from vitrail.workshop.teaching import teacher_words
from vitrail.workshop.trials import find_learning_rate

__all__ = ["NEIGHBORS", "Probe", "Watch", "Workshop", "build_objective", "circumstances", "find_learning_rate",
           "known_mistakes", "prepared", "probe_words", "set_up", "start_words", "teacher_words",
           "trained_bundle", "trained_state"]
