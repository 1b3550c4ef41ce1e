"""Recipe -> Bundle: the one place where the stations are wired together.

    for event in run(recipe, Path("runs/first")): ...

The run folder: recipe.json, manifest.csv (the splits), metrics.jsonl, tb/, checkpoints/step-N/, bundle/, report.html.
"""

from __future__ import annotations

import contextlib
import shlex
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import torch

from vitrail.briefing import bad_words, rows_of, understood
from vitrail.bundle import Bundle
from vitrail.data.source import Source
from vitrail.data.split import write_manifest_csv
from vitrail.errors import BundleError, DivergedError, RunError, SaveError, UsageError
from vitrail.evaluation import Evaluation, answer, counted, joined
from vitrail.events import Evaluated, Event, Finished, Noted, Stepped
from vitrail.files import write_json
from vitrail.recipe import Recipe
from vitrail.report import Run, write_report
from vitrail.training.allocator import keep_freed_memory
from vitrail.training.checkpoint import Snapshot, State, snapshot
from vitrail.training.compiled import eagerly
from vitrail.training.forecast import is_out_of_memory
from vitrail.training.guard import Interrupts, sole_owner
from vitrail.training.journal import Journal, Unwritten
from vitrail.training.loop import Step, steps
from vitrail.training.parallel import SOLO, World
from vitrail.training.parallel.parts import local
from vitrail.training.saving import Saver
from vitrail.vocabulary import Progress
from vitrail.workshop import Watch, Workshop, circumstances, find_learning_rate, prepared, set_up, trained_bundle

RECIPE, REPORT, MANIFEST_CSV = "recipe.json", "report.html", "manifest.csv"
RATES = "rates"
"""Where a search for the learning rate had its runs, before this one."""


def run(recipe: Recipe, folder: Path, *, source: Source | None = None, resume: bool = False, dry_run: bool = False,
        allow_data_change: bool = False, strict: bool = False, find_rate: bool = False,
        interrupts: Interrupts | None = None, watch: Watch | None = None, world: World = SOLO) -> Iterator[Event]:
    """Train as the recipe says into a new run folder, or go on in one with `resume`. Yields events, `Finished` last.

    A resumed run refuses data other than its own, unless `allow_data_change`; where its newest checkpoint is damaged
    it goes on from the one before, unless `strict`. With `dry_run` it ends after the first
    event and writes nothing. `find_rate` puts the learning rate of a range test into a new run's recipe. In a `world`
    of several processes all call this and get the events, and the first one writes. Raises UsageError where the folder
    holds another run, DataError, RunError or SaveError where training cannot go on.
    """
    first = world.first
    if first:
        claim(folder, resume)
    with sole_owner(folder) if first and not dry_run else contextlib.nullcontext(), same_threads_after():
        keep_freed_memory()
        source = source or recipe.data.open()
        interrupts = Interrupts() if interrupts is None else interrupts  # an Interrupts without a signal is false
        shop = set_up(recipe, source, folder, interrupts, watch or ignore, resume, allow_data_change, strict, world)
        if find_rate and not resume and not interrupts:
            find_learning_rate(shop)
        yield understood(shop)
        if dry_run:
            return
        if first and not resume:
            write_json(folder / RECIPE, shop.recipe.model_dump(mode="json"))
        if first and (not resume or allow_data_change or not (folder / MANIFEST_CSV).exists()):
            write_manifest_csv(source, folder / MANIFEST_CSV)  # also where a kill came before it was there
        journal = Journal(folder, upto_step=shop.step if resume else None) if first else Unwritten()
        journal.write({"step": shop.step, "samples": shop.samples, **circumstances(shop), "data": source.fingerprint})
        yield from train(shop, journal)
        yield from conclude(shop, journal)


@contextlib.contextmanager
def same_threads_after() -> Iterator[None]:
    """A run may compute with fewer threads; the process gets its number back."""
    threads = torch.get_num_threads()
    try:
        yield
    finally:
        torch.set_num_threads(threads)


def claim(folder: Path, resume: bool) -> None:
    """A new run needs a folder without another run; a resumed one needs its recipe. What a run leaves that was killed
    before it had one (its lock, a recipe half written) is no run."""
    held = folder / RECIPE
    if resume and not held.exists():
        raise UsageError(f"There is no run to resume in {folder}: it has no {RECIPE}. Leave out --resume to start one.")
    if not resume and folder.exists() and (not folder.is_dir() or any(
            entry.name not in (".lock", RATES) and not entry.name.startswith(".tmp-") for entry in folder.iterdir())):
        what = "already holds another run" if held.exists() else "is not empty"
        raise UsageError(f"{folder} {what}. Choose another --out" + (
            ", or go on with that run by --resume." if held.exists() else "."))


def train(shop: Workshop, journal: Journal) -> Iterator[Event]:
    """Steps until the end, a signal, or the time is up; with rows in the journal, validation and checkpoints."""
    recipe = shop.recipe
    shop.objective.train()
    batches = shop.loader.batches(shop.samples)
    stream = steps(
        shop.learner, (prepared(shop, batch) for batch in batches), shop.weights, shop.optimizer,
        lambda step: recipe.optimizer.learning_rate * recipe.schedule.factor(step, shop.progress, shop.total_steps),
        start=shop.step, samples=shop.samples, micro_batches=shop.micro_batches,
        clip=recipe.optimizer.clip, seed=recipe.seed, average=shop.average, world=shop.world,
        names=shop.loader.split.names)
    recent = Recent()
    per_epoch = len(shop.loader.split) / recipe.training.batch_size
    every = max(1, round(recipe.evaluation.every_epochs * per_epoch))
    saved_step = shop.step
    began, before = time.monotonic(), shop.seconds
    last_saved = began
    with closing(batches), closing(stream), Saver(shop.folder / "checkpoints", shop.world.apart()) as saver:
        while shop.progress < 1 and not shop.interrupts:
            step = next_step(shop, stream)
            shop.step, shop.seconds = step.step, before + time.monotonic() - began
            save_now = agree(shop, time.monotonic() - last_saved >= recipe.training.checkpoint_seconds
                             and not saver.busy)
            recent.add(step)
            yield stepped(shop, step, recent)
            at_end = shop.progress >= 1
            if step.step % recipe.training.log_every == 0 or at_end:
                journal.write(recent.row(step))
            if shop.validation and (step.step % every == 0 or at_end) and not shop.interrupts:
                yield from validate(shop, journal)
            yield from (Noted(f"{words} The run goes on and tries again.") for words in saver.troubles())
            if save_now:
                saver.save(taken(shop))
                last_saved, saved_step = time.monotonic(), step.step
        if shop.step > saved_step:
            saver.save(taken(shop))
    yield from (Noted(f"{words} The last checkpoint is older.") for words in saver.troubles())
    yield from (Noted(words) for words in (journal.trouble, *bad_words(shop)) if words)


def agree(shop: Workshop, due: bool) -> bool:
    """What all processes must do alike, after a step: stop at a signal that one of them got, go by the first one's
    clock, count the bad pictures of all. Returns whether the first one wants a checkpoint."""
    world, bad = shop.world, shop.loader.bad
    if world.size == 1:
        return due
    signal, due_there, shop.seconds, most, least = world.largest(
        shop.interrupts.received or 0, due and world.first, shop.seconds if world.first else 0.0, len(bad), -len(bad))
    shop.interrupts.signal = int(signal) or None
    if -least < most:
        bad.update((name, reason) for theirs in world.gathered(dict(bad)) for name, reason in theirs.items())
        if len(bad) > shop.loader.allowed:
            raise shop.loader.too_many_bad()
    return bool(due_there)


def next_step(shop: Workshop, stream: Iterator[Step]) -> Step:
    """Raises RunError where memory runs out: the weights may be half updated, and nothing of this step is kept."""
    try:
        return next(stream)
    except (RuntimeError, MemoryError) as error:
        if not is_out_of_memory(error):
            raise
        raise RunError(
            f"Step {shop.step + 1}: out of memory with batches of {shop.batch_size} in parts of "
            f"{-(-shop.share // shop.micro_batches)}. What the last checkpoint holds is safe. Go on from it in "
            f"smaller parts, which add up to the same batch: vitrail train --resume --out "
            f"{shlex.quote(str(shop.folder))} --set training.micro_batches="
            f"{min(2 * shop.micro_batches * shop.world.size, shop.batch_size)}") from error


class Recent:
    """Averages of the objective's numbers since the last row of the journal."""

    def __init__(self) -> None:
        self.steps: list[Step] = []

    def add(self, step: Step) -> None:
        self.steps.append(step)

    def mean(self, name: str) -> float:
        return sum(step.parts[name] for step in self.steps) / len(self.steps)

    def row(self, step: Step) -> dict[str, Any]:
        """One row of the journal; the next one starts afresh."""
        seconds = sum(one.seconds for one in self.steps)
        row: dict[str, Any] = {"step": step.step, "samples": step.samples}
        row |= {f"train/{name}": self.mean(name) for name in step.parts}
        row |= {"train/learning_rate": step.learning_rate, "train/gradient_norm": step.gradient_norm,
                "train/seconds_per_step": seconds / len(self.steps)}
        self.steps = []
        return row


def stepped(shop: Workshop, step: Step, recent: Recent) -> Stepped:
    rate = shop.recipe.training.batch_size / max(step.seconds, 1e-9)
    seconds = shop.recipe.schedule.seconds
    if shop.total_steps is None and seconds is not None:
        remaining = max(seconds - shop.seconds, 0.0)
        total = round(shop.step / max(shop.progress, 1e-9))
    else:
        total = shop.total_steps or 0
        remaining = (total - shop.step) * shop.seconds / max(shop.step, 1)
    return Stepped(step, Progress(shop.step, total, rate), step.samples / len(shop.loader.split), remaining)


def validate(shop: Workshop, journal: Journal) -> Iterator[Event]:
    """Evaluate on the validation split; where it is the best so far and the recipe keeps the best, keep it."""
    split = shop.validation
    assert split is not None
    evaluation = watched_evaluation(shop, shop.view(), split)
    if evaluation is None:
        return
    score = record(shop, journal, split, evaluation)
    yield Evaluated(shop.step, split, evaluation)
    if shop.recipe.evaluation.keep == "best" and score is not None and (shop.best is None or score > shop.best):
        if trouble := keep_best(shop):
            yield Noted(f"{trouble} The run goes on; the best model so far is the one before.")
        else:
            shop.best, shop.best_step = score, shop.step


def keep_best(shop: Workshop) -> str | None:
    """Save the model as it is now; returns what went wrong."""
    bundle, trouble = trained_bundle(shop), None
    if shop.world.first:
        try:
            bundle.save(shop.folder / "checkpoints" / "best")
        except SaveError as error:
            trouble = str(error)
    return shop.world.told(trouble)


def ignore(split: str, progress: Progress) -> None:
    """Nobody watches."""


def record(shop: Workshop, journal: Journal, split: str, evaluation: Evaluation) -> float | None:
    """A row of the journal; returns the score by which models are compared."""
    single = evaluation.top1 is not None
    score = evaluation.top1 if single else evaluation.mean_average_precision
    journal.write({"step": shop.step, "samples": shop.samples, f"{split}/loss": evaluation.loss,
                   f"{split}/{'top1' if single else 'mean_average_precision'}": score})
    return score


class StopEvaluation(Exception):  # noqa: N818 - a request, not an error
    """A signal arrived in the middle of an evaluation."""


def watched_evaluation(shop: Workshop, bundle: Bundle, split: str) -> Evaluation | None:
    """Evaluate, every process its part, or None where a signal asks one of them to stop."""
    def watch(progress: Progress) -> None:
        if shop.interrupts or shop.interrupts.received:
            raise StopEvaluation
        shop.watch(split, progress)

    world, images = shop.world, shop.source.splits[split]
    if world.size > 1 and len(images) >= world.size:
        images = images.subset(np.array_split(np.arange(len(images)), world.size)[world.rank])
    try:
        with eagerly(shop.recipe.training.compile):
            own = answer(bundle, images, batch_size=shop.recipe.evaluation.batch_size, progress=watch)
    except StopEvaluation:
        own = None
    parts = world.gathered(own)
    shop.interrupts.signal = shop.interrupts.signal or int(world.largest(shop.interrupts.received or 0)[0]) or None
    answered = [part for part in parts if part is not None]
    if len(answered) < len(parts):
        return None
    whole = len(shop.source.splits[split]) >= world.size
    return counted(bundle, joined(answered) if whole else answered[0])


def taken(shop: Workshop) -> Snapshot:
    """Copies of all that a resumed run needs (collective). Raises DivergedError where a weight is not finite: such a
    checkpoint would take the place of a good one."""
    finite = all(bool(local(master).isfinite().all()) for master in shop.weights.masters)
    if shop.world.largest(not finite)[0]:
        raise DivergedError(f"After step {shop.step} the weights are not finite, so they are not saved. Use a lower "
                            "learning rate, and go on from the last checkpoint with --resume.")
    state = State(step=shop.step, samples=shop.samples, seconds=shop.seconds, recipe=shop.recipe.identity(),
                  backend=shop.backend, threads=torch.get_num_threads(),
                  micro_batches=shop.micro_batches * shop.world.size,
                  best=shop.best, best_step=shop.best_step, data=shop.source.fingerprint, classes=shop.source.classes)
    return snapshot(shop.weights, shop.optimizer, state, shop.average)


def conclude(shop: Workshop, journal: Journal) -> Iterator[Event]:
    """Save the Bundle first, then measure it, then write the report: each is complete when a signal comes."""
    bundle = trained_bundle(shop)
    if shop.recipe.evaluation.keep == "best" and shop.best is not None:
        try:
            bundle = Bundle.load(shop.folder / "checkpoints" / "best")
            yield Noted(f"keeping the best weights by validation: step {shop.best_step:,}")
        except BundleError as error:
            yield Noted(f"{error} Keeping the last weights instead.")
    if shop.world.first:
        bundle.save(shop.folder / "bundle")
    split = next((name for name in ("test", "val") if name in shop.source.splits), None)
    evaluation = watched_evaluation(shop, bundle, split) if split and not shop.interrupts else None
    if evaluation is not None and split is not None:
        bundle.provenance["evaluation"] = {"split": split, "top1": evaluation.top1, "images": evaluation.images,
                                           "interval": evaluation.interval,
                                           "mean_average_precision": evaluation.mean_average_precision}
        if shop.world.first:
            bundle.save(shop.folder / "bundle")
        record(shop, journal, split, evaluation)
        yield Evaluated(shop.step, split, evaluation)
    if shop.world.first and not shop.interrupts:
        yield from write_page(shop, journal, bundle, split, evaluation)
    yield Finished(bundle, shop.folder, shop.step, shop.seconds, split, evaluation, shop.interrupts.signal)


def write_page(shop: Workshop, journal: Journal, bundle: Bundle, split: str | None,
               evaluation: Evaluation | None) -> Iterator[Event]:
    """The run on one page, `report.html`. A report that cannot be saved costs nothing else."""
    train_split, folder = shop.source.splits["train"], shlex.quote(str(shop.folder))
    page = Run(
        title=f"{shop.config.name} on {shop.source.spec}",
        trained_on=f"{len(train_split):,} images of {shop.source.spec} ({shop.samples / len(train_split):.3g} epochs)",
        seconds=shop.seconds, facts={subject.capitalize(): words for subject, words in rows_of(shop)},
        history=journal.rows(), measured_on=split or "test",
        notes=(*shop.source.warnings, *shop.notes, *bad_words(shop)),
        commands=(f"vitrail predict {folder} YOUR_IMAGE.jpg", f"vitrail evaluate {folder}",
                  f"tensorboard --logdir {folder}/tb"),
    )
    try:
        write_report(shop.folder / REPORT, page, bundle, evaluation=evaluation,
                     split=shop.source.splits[split] if split and evaluation else None)
    except SaveError as error:
        yield Noted(str(error))
