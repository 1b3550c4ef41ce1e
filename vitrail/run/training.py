"""Steps until the end, with checkpoints beside them."""

from __future__ import annotations

import shlex
import time
from collections.abc import Iterator
from contextlib import closing
from typing import Any

import torch

from vitrail.briefing import bad_words
from vitrail.errors import DivergedError, RunError
from vitrail.events import Event, Noted, Stepped
from vitrail.run.looks import validate
from vitrail.run.probing import probe
from vitrail.training.checkpoint import Snapshot, State, snapshot
from vitrail.training.forecast import is_out_of_memory
from vitrail.training.journal import Journal
from vitrail.training.loop import Step, steps
from vitrail.training.parallel.parts import local
from vitrail.training.saving import Saver
from vitrail.vocabulary import Progress
from vitrail.workshop import Workshop, prepared


def train(shop: Workshop, journal: Journal) -> Iterator[Event]:
    """Steps until the end, a signal, or the time is up; with rows in the journal, validation and checkpoints."""
    recipe = shop.recipe
    shop.objective.train()
    shop.objective.counted()  # in trials, which do not count
    batches = shop.loader.batches(shop.samples)
    stream = steps(
        shop.learner, (prepared(shop, batch) for batch in batches), shop.weights, shop.optimizer,
        lambda step: recipe.optimizer.learning_rate * recipe.schedule.factor(step, shop.progress, shop.total_steps),
        start=shop.step, samples=shop.samples, micro_batches=shop.micro_batches,
        clip=recipe.optimizer.clip, seed=recipe.seed, average=shop.average, world=shop.world,
        names=shop.loader.split.names, progress=lambda: shop.progress)
    recent = Recent()
    per_epoch = len(shop.loader.split) / recipe.training.batch_size
    every = max(1, round(recipe.evaluation.every_epochs * per_epoch))
    probing = max(1, round((recipe.evaluation.probe_every or 1.0) * per_epoch))
    saved_step = shop.step
    if shop.probe and not shop.step and not shop.interrupts:
        yield from probe(shop, journal, shop.view())  # what there is to gain on
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
                row = recent.row(step)
                shop.collapse.gather(shop.objective, shop.world)
                beyond = shop.collapse.row(shop.objective, row)
                journal.write(row | beyond)
                if words := shop.collapse.words(shop.objective, beyond, shop.progress):
                    yield Noted(f"After step {step.step:,}: {words}")
            if shop.validation and (step.step % every == 0 or at_end) and not shop.interrupts:
                yield from validate(shop, journal)
            if shop.probe and step.step % probing == 0 and not at_end and not shop.interrupts:
                yield from probe(shop, journal, shop.view())
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
        verb = "train" if shop.objective.labeled else "pretrain"
        raise RunError(
            f"Step {shop.step + 1}: out of memory with batches of {shop.batch_size} in parts of "
            f"{-(-shop.share // shop.micro_batches)}. What the last checkpoint holds is safe. Go on from it in "
            f"smaller parts, which add up to the same batch: vitrail {verb} --resume --out "
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


def taken(shop: Workshop) -> Snapshot | None:
    """Copies of all that a resumed run needs (collective), or None in a process that has nothing to write of them.
    Raises DivergedError where a weight is not finite: such a checkpoint would take the place of a good one."""
    finite = all(bool(local(master).isfinite().all()) for master in shop.weights.masters)
    if shop.world.largest(not finite)[0]:
        raise DivergedError(f"After step {shop.step} the weights are not finite, so they are not saved. Use a lower "
                            "learning rate in a new run with another --out: this one would do the same again.")
    shop.collapse.gather(shop.objective, shop.world)
    if not (shop.world.first or shop.weights.sharded):
        return None
    state = State(step=shop.step, samples=shop.samples, seconds=shop.seconds, recipe=shop.recipe.identity(),
                  backend=shop.backend, threads=torch.get_num_threads(),
                  micro_batches=shop.micro_batches * shop.world.size,
                  best=shop.best, best_step=shop.best_step, data=shop.source.fingerprint, classes=shop.source.classes,
                  counted=shop.collapse.counted.tolist())
    return snapshot(shop.weights, shop.optimizer, state, shop.average, shop.objective.memory())
