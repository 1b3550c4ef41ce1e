"""What the verbs that train take alike: where, which model, how long, on how many devices, and how to go on."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

from cyclopts import Group, Parameter

from vitrail.cli.numbers import Count, Whole
from vitrail.errors import UsageError

Length = Parameter(group=Group("How long", sort_key=1))
Looks = Parameter(group=Group("Looks on the way", sort_key=2))
MANY = Group("Several devices", sort_key=3)
Many = Parameter(group=MANY)


@Parameter(name="*")
@dataclass(frozen=True)
class RunOptions:
    """Options of a run.

    Parameters
    ----------
    out
        Run folder to make; `runs/SOURCE-N` without.
    model
        Size and patch, such as Ti/8, S/16 or B/32; chosen by the data, or by the weights, without.
    image_size
        Pixels, as 224 or 160x224 (height x width); chosen by the data, or by the weights, without.
    seed
        Decides weights, order, augmentation and all else that is drawn; 0 without.
    epochs
        Passes over the training images.
    steps
        Optimizer steps.
    time
        Time for training, as 90s, 10m or 2h; the learning rate follows it.
    probe_every
        Epochs between two measurements of the frozen features by a few labels of each class and by nearest neighbors,
        on a few thousand images; never without.
    probe_on
        Labeled images for that, in any form that SOURCE takes; those of SOURCE without.
    devices
        Processes on this machine, each with a GPU or its part of the cores, that train together.
    shard
        Give each process a part of every parameter (FSDP2), for models that do not fit on one device.
    dist_timeout
        How long a process may not answer the others before the run ends.
    set_
        Change one setting of the recipe: --set optimizer.learning_rate=3e-4. May be given again. The time between
        checkpoints, two minutes without: --set training.checkpoint_seconds=600.
    resume
        Go on with the run in --out from its newest checkpoint.
    resume_or_start
        The same where --out holds a run of SOURCE, else start it: one command for a job that may be started again.
    allow_data_change
        Resume although the data are not what they were when the run began.
    strict
        Resume from the newest checkpoint or not at all: where it is damaged, no older one is taken.
    dry_run
        Stop after saying what would be done and how long it would take.
    quiet
        Say nothing but the result.
    """

    out: Annotated[Path | None, Parameter(alias="-o")] = None
    model: Annotated[str | None, Parameter(alias="-m")] = None
    image_size: str | None = None
    seed: Whole | None = None
    epochs: Annotated[float | None, Length] = None
    steps: Annotated[Whole | None, Length] = None
    time: Annotated[str | None, Length] = None
    probe_every: Annotated[float | None, Looks] = None
    probe_on: Annotated[str | None, Looks] = None
    devices: Annotated[Count | None, Many] = None
    shard: Annotated[bool, Parameter(group=MANY, negative=())] = False
    dist_timeout: Annotated[str, Many] = "2m"
    set_: Annotated[tuple[str, ...], Parameter(name="--set", negative=())] = ()
    resume: Annotated[bool, Parameter(negative=())] = False
    resume_or_start: Annotated[bool, Parameter(negative=())] = False
    allow_data_change: Annotated[bool, Parameter(negative=())] = False
    strict: Annotated[bool, Parameter(negative=())] = False
    dry_run: Annotated[bool, Parameter(negative=())] = False
    quiet: Annotated[bool, Parameter(alias="-q", negative=())] = False

    def changes(self) -> dict[str, Any]:
        """What these options change in a recipe, as dotted settings. Raises UsageError."""
        sharded = {"training.shard": True} if self.shard else {}
        probes = {"evaluation.probe_every": self.probe_every, "evaluation.probe_on": self.probe_on}
        return settings(self.set_) | lengths(self.epochs, self.steps, self.time) | sharded | {
            name: value for name, value in probes.items() if value is not None}


def settings(pairs: tuple[str, ...]) -> dict[str, Any]:
    """`a.b=v` pairs; values are JSON where they parse as it, else words."""
    changes: dict[str, Any] = {}
    for pair in pairs:
        key, sign, text = pair.partition("=")
        if not sign or not key:
            raise UsageError(f"--set {pair} is not of the form key=value, such as optimizer.learning_rate=3e-4.")
        try:
            changes[key.strip()] = json.loads(text)
        except ValueError:
            changes[key.strip()] = text
    return changes


def lengths(epochs: float | None, steps: int | None, time: str | None) -> dict[str, Any]:
    """At most one of the three, as a setting of the schedule."""
    given = {"epochs": epochs, "steps": steps, "seconds": None if time is None else parse_time(time)}
    chosen = {f"schedule.{name}": value for name, value in given.items() if value is not None}
    if len(chosen) > 1:
        raise UsageError("Give only one of --epochs, --steps and --time: each says how long the run is.")
    return chosen


def parse_time(text: str, option: str = "--time") -> float:
    """Seconds. Raises UsageError for what is no length of time."""
    number = r"(\d+(?:\.\d+)?)\s*"
    match = re.fullmatch(rf"(?:{number}h\s*)?(?:{number}(?:m|min)\s*)?(?:{number}s?)?", text.strip())
    hours, minutes, seconds = (float(part or 0) for part in match.groups()) if match else (0.0, 0.0, 0.0)
    if not 0 < hours + minutes + seconds < float("inf"):
        raise UsageError(f"{option} {text} is not a length of time. Use 90s, 10m, 2h or 1h30m.")
    return 3600 * hours + 60 * minutes + seconds


def parse_size(text: str, option: str = "--image-size") -> tuple[int, int]:
    match = re.fullmatch(r"(\d+)(?:x(\d+))?", text.strip())
    if match is None or 0 in (int(match[1]), int(match[2] or match[1])):
        raise UsageError(f"{option} {text} is not a size. Use pixels: 16, or 160x224 for height x width.")
    return int(match[1]), int(match[2] or match[1])
