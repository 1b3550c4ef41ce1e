"""Everything a run needs, at its beginning or as it was where the run goes on."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

from vitrail import __version__, native
from vitrail.bundle import read_config
from vitrail.data.loader import Loader
from vitrail.data.remembered import remember
from vitrail.data.source import Source
from vitrail.errors import BundleError, DataError, RunError, VitrailError
from vitrail.recipe import Recipe
from vitrail.training.average import Average
from vitrail.training.backend import set_kernels
from vitrail.training.checkpoint import load_checkpoint, newest_checkpoint, read_state
from vitrail.training.collapse import Collapse
from vitrail.training.guard import Interrupts
from vitrail.training.journal import JOURNAL, read_journal
from vitrail.training.optimizer import build_optimizer, kernel_names
from vitrail.training.parallel import SOLO, World
from vitrail.training.parallel.replicas import replicate
from vitrail.training.parallel.shards import shard
from vitrail.training.precision import Weights
from vitrail.workshop.beginning import (
    answers,
    backend_for,
    build_objective,
    choose_what_learns,
    first_model,
    training_view,
)
from vitrail.workshop.decoding import take_decoder
from vitrail.workshop.other_run import other_run
from vitrail.workshop.probing import Probe, open_probe
from vitrail.workshop.shop import Watch, Workshop
from vitrail.workshop.trials import parts_for_memory, settle_threads


def set_up(recipe: Recipe, source: Source, folder: Path, interrupts: Interrupts, watch: Watch,
           resume: bool, allow_data_change: bool = False, strict: bool = False, world: World = SOLO) -> Workshop:
    """Model, objective, optimizer, loader and backend, as they were where a run goes on (collective)."""
    probe = open_probe(recipe, source)
    same_everywhere(recipe, source, world, probe)
    checkpoint, troubles = world.told(
        newest_checkpoint(folder / "checkpoints", strict) if resume and world.first else (None, []))
    state = read_state(checkpoint) if checkpoint else None
    if state is not None and checkpoint is not None:
        with told_with_errors(troubles):
            if state.recipe != recipe.identity():
                raise other_run(checkpoint, state, recipe, source)
            troubles += changed_data(state.data, state.classes, source, allow_data_change)
    elif resume:
        with told_with_errors(troubles):
            troubles += begun_anew(folder, source, allow_data_change, strict)
    config = recipe.model.configure(len(answers(recipe, source)), recipe.preprocess.size)
    backend = state.backend if state else world.told(backend_for(recipe, config, world.device))
    missing = native.trouble() if backend.attention == "native" else ""
    if missing:
        backend = backend._replace(attention="products")
    model = first_model(recipe, config, source, going_on=state is not None)
    choose_what_learns(model, recipe)
    objective = build_objective(recipe, model, source, backend, world.device)
    take_decoder(objective, recipe, going_on=state is not None)
    set_kernels(objective, backend.attention)
    kernels = kernel_names(objective)
    sharded = recipe.training.shard and world.size > 1
    if sharded:
        shard(objective, backend.precision, world)
    follower = objective.follower()
    masters = Weights(objective, backend.precision, sharded=sharded, follower=follower,
                      native=backend.attention == "native")
    learner = objective if sharded else replicate(objective, masters, world)
    optimizer = build_optimizer(recipe.optimizer, masters.named_masters(), kernels, masters.rounded)
    train_split = source.splits["train"]
    loader = Loader(remember(train_split, recipe.preprocess), training_view(recipe, objective),
                    recipe.training.batch_size, seed=recipe.seed, workers=recipe.data.workers,
                    max_bad=recipe.data.max_bad, world=world.size, rank=world.rank)
    shop = Workshop(recipe, source, folder, objective, learner, model, config, loader, masters, optimizer, backend,
                    interrupts, watch, recipe.schedule.total_steps(len(train_split), recipe.training.batch_size),
                    world=world, notes=[*troubles, *(probe.notes if probe else ())], probe=probe)
    if recipe.training.average is not None:
        shop.average = Average(masters, recipe.training.average)
    elif follower is not None:
        shop.average = Average(masters, follower=follower)
    if missing:
        shop.notes.append(f"this run began with vitrail's own kernels, which are not to be had here ({missing}): torch "
                          "computes instead, more slowly, and not the same to the bit")
    if state is not None and checkpoint is not None:
        load_checkpoint(checkpoint, masters, optimizer, shop.average, objective.memory())
        shop.step, shop.seconds = state.step, state.seconds
        shop.best, shop.best_step = state.best, state.best_step
        shop.collapse = Collapse(state.counted)
        shop.notes.append(f"going on after step {state.step:,}, from {checkpoint.name}" if shop.progress < 1 else
                          f"the run was at its end, after step {state.step:,}: nothing is trained, and it is measured "
                          "again. To train on, give more --epochs, --steps or --time")
    parts = max(recipe.training.micro_batches, state.micro_batches if state else 1)
    shop.micro_batches = parts_for_memory(shop, min(-(-parts // world.size), shop.share))
    settle_threads(shop, state.threads if state else None)
    return shop


@contextlib.contextmanager
def told_with_errors(troubles: list[str]) -> Iterator[None]:
    """A checkpoint that was set aside is told even where nothing comes of the run: it is not found a second time."""
    try:
        yield
    except VitrailError as error:
        for trouble in troubles:
            error.add_note(trouble)
        raise


def same_everywhere(recipe: Recipe, source: Source, world: World, probe: Probe | None) -> None:
    """Raises RunError where another process has another recipe, other data or another vitrail than the first."""
    own = {"recipe": recipe.identity(), "data": source.fingerprint, "version of vitrail": __version__,
           "data of --probe-on": probe.source.fingerprint if probe else ""}
    first, *others = world.gathered(own)
    for rank, theirs in enumerate(others, start=1):
        if differing := [what for what, value in theirs.items() if value != first[what]]:
            raise RunError(f"Process {rank} does not have the {' and '.join(differing)} of process 0. All processes of "
                           "a run need the same.")


def begun_anew(folder: Path, source: Source, allow_data_change: bool, strict: bool) -> list[str]:
    """What to say where a run has no checkpoint to go on from. Raises RunError where a trained model would be lost by
    that, or with `strict`; DataError as `changed_data` does."""
    if (folder / "bundle").exists() and not of_no_step(folder / "bundle"):
        raise RunError(f"{folder} has no checkpoint to go on from, but a model, which stays as it is. Start from it in "
                       f"another folder: vitrail train {source.spec} --weights {folder} --out OTHER")
    if strict:
        raise RunError(f"{folder} has no checkpoint to go on from. Leave out --strict to begin the run anew.")
    rows = read_journal(folder / JOURNAL) if (folder / JOURNAL).exists() else []
    recorded = next((str(row["data"]) for row in rows if "data" in row), "")
    return [*changed_data(recorded, source.classes, source, allow_data_change),
            "there is no checkpoint yet, so the run begins anew"]


def of_no_step(bundle: Path) -> bool:
    """Whether it is what a run leaves that is stopped before its first step: the model as it begins."""
    try:
        return read_config(bundle / "config.json").provenance.get("step") == 0
    except BundleError:
        return False


def changed_data(recorded: str, classes: tuple[str, ...], source: Source, allowed: bool) -> list[str]:
    """What to say where the data, by their `recorded` fingerprint, are others than when the run began, with `classes`.
    Raises DataError where that is not `allowed`.

    Other classes are never allowed: the outputs of the model would get other names.
    """
    if not recorded or recorded == source.fingerprint:
        return []
    if classes != source.classes:
        raise DataError(f"{source.spec} has other classes than when this run began ({len(classes)} then, "
                        f"{len(source.classes)} now, or in another order). Bring the old data back, or start a new "
                        "run.")
    if not allowed:
        raise DataError(f"{source.spec} is not what it was when this run began: pictures, labels or splits were "
                        "added, removed or changed. Bring the old data back, start a new run, or go on with the new "
                        "data by --allow-data-change; pictures may then be held out now that were trained on before.")
    return [f"the data of {source.spec} changed since this run began; pictures that are held out now may have been "
            "trained on before"]
