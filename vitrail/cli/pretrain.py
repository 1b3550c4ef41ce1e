"""vitrail pretrain SOURCE"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Literal

from cyclopts import Parameter

from vitrail.cli.numbers import Whole
from vitrail.cli.train import MANY, Length, Many, train
from vitrail.errors import UsageError


def pretrain(
    source: str | None = None, /, *,
    out: Annotated[Path | None, Parameter(alias="-o")] = None,
    objective: Literal["masked-patch"] | None = None,
    target: Literal["mean-color", "downsized", "pixels"] | None = None,
    corrupted: float | None = None,
    model: Annotated[str | None, Parameter(alias="-m")] = None,
    weights: Annotated[str | None, Parameter(alias="-w")] = None,
    image_size: str | None = None,
    recipe: Annotated[str, Parameter(alias="-r")] = "pretrain",
    seed: Whole | None = None,
    epochs: Annotated[float | None, Length] = None,
    steps: Annotated[Whole | None, Length] = None,
    time: Annotated[str | None, Length] = None,
    lr: str | None = None,
    devices: Annotated[Whole | None, Many] = None,
    shard: Annotated[bool, Parameter(group=MANY, negative=())] = False,
    dist_timeout: Annotated[str, Many] = "2m",
    set_: Annotated[tuple[str, ...], Parameter(name="--set", negative=())] = (),
    resume: Annotated[bool, Parameter(negative=())] = False,
    resume_or_start: Annotated[bool, Parameter(negative=())] = False,
    allow_data_change: Annotated[bool, Parameter(negative=())] = False,
    strict: Annotated[bool, Parameter(negative=())] = False,
    dry_run: Annotated[bool, Parameter(negative=())] = False,
    quiet: Annotated[bool, Parameter(alias="-q", negative=())] = False,
) -> int:
    """Learn from images without labels. What comes out has no head: train it on your labels.

        vitrail pretrain photos/ --out first

        vitrail pretrain photos/ --weights dinov2.safetensors --target pixels

        vitrail train labeled/ --weights first

    Parameters
    ----------
    source
        A folder of images, with class folders or without, or anything else that `vitrail train` takes.
    out
        Run folder to make; `runs/SOURCE-N` without.
    objective
        masked-patch: guess patches whose embeddings were corrupted.
    target
        What is guessed of a patch: mean-color (3 bits a channel), downsized (the same at 4x4) or pixels.
    corrupted
        Share of the patches that is corrupted and guessed; 0.5 without.
    model
        Size and patch, such as Ti/8, S/16 or B/32; chosen by the data, or by the weights, without.
    weights
        Trained weights to go on from, in any format that vitrail reads.
    image_size
        Pixels, as 224 or 160x224 (height x width); chosen by the data, or by the weights, without.
    recipe
        pretrain, paper_masked_patch, or a recipe.json.
    seed
        Decides weights, order, augmentation and what is corrupted; 0 without.
    epochs
        Passes over the training images.
    steps
        Optimizer steps.
    time
        Time for training, as 90s, 10m or 2h; the learning rate follows it.
    lr
        Learning rate; auto finds it by a range test of 100 steps, on weights that are put back.
    devices
        Processes on this machine, each with a GPU or its part of the cores, that train together.
    shard
        Give each process a part of every parameter (FSDP2), for models that do not fit on one device.
    dist_timeout
        How long a process may not answer the others before the run ends.
    set_
        Change one setting of the recipe: --set optimizer.learning_rate=3e-4. May be given again.
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
    given = {"objective.name": objective, "objective.masked_patch.target": target,
             "objective.masked_patch.corrupted": corrupted}
    pairs = tuple(f"{name}={json.dumps(value)}" for name, value in given.items() if value is not None)
    if resume and pairs:
        raise UsageError("A resumed run keeps what it guesses. Leave out --objective, --target and --corrupted, or "
                         "start a new run with another --out.")
    if source is None and recipe in ("pretrain", "paper_masked_patch") and not (resume or resume_or_start):
        raise UsageError("Nothing to learn from. Give a folder of images, with labels or without: vitrail pretrain "
                         "photos/")
    refuse_recipes_with_labels(recipe)
    return train(source, out=out, model=model, weights=weights, image_size=image_size,
                 recipe="default" if resume and recipe == "pretrain" else recipe, seed=seed, epochs=epochs, steps=steps,
                 time=time, lr=lr, devices=devices, shard=shard, dist_timeout=dist_timeout, set_=(*pairs, *set_),
                 resume=resume, resume_or_start=resume_or_start, allow_data_change=allow_data_change, strict=strict,
                 dry_run=dry_run, quiet=quiet)


def refuse_recipes_with_labels(recipe: str) -> None:
    """Raises UsageError for a recipe that learns labels. A file may say anything."""
    if recipe.endswith(".json") or "/" in recipe:
        return
    from vitrail.recipes import RECIPES, WITHOUT_LABELS

    if recipe in RECIPES and recipe not in WITHOUT_LABELS:
        raise UsageError(f"The recipe {recipe} learns labels. Without labels there are {' and '.join(WITHOUT_LABELS)}; "
                         f"with labels: vitrail train --recipe {recipe}")
