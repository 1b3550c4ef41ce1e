"""The training loop: a generator of steps. The caller logs, evaluates, saves and stops; nothing calls back."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import nn

from vitrail.objectives import Objective
from vitrail.training.average import Average
from vitrail.training.compiled import compiler_in_words
from vitrail.training.divergence import refuse_non_finite
from vitrail.training.parallel import SOLO, World
from vitrail.training.parallel.replicas import unshared
from vitrail.training.precision import Weights
from vitrail.vocabulary import Batch


@dataclass(frozen=True)
class Step:
    """One optimizer step that has been taken. `step` counts them from 1; `parts` are the objective's numbers."""

    step: int
    samples: int
    parts: dict[str, float]
    learning_rate: float
    gradient_norm: float
    seconds: float


def steps(
    objective: nn.Module,
    batches: Iterable[Batch],
    weights: Weights,
    optimizer: torch.optim.Optimizer,
    learning_rate: Callable[[int], float],
    *,
    start: int = 0,
    samples: int = 0,
    micro_batches: int = 1,
    clip: float | None = None,
    seed: int = 0,
    average: Average | None = None,
    world: World = SOLO,
    names: Sequence[str] | None = None,
    progress: Callable[[], float] | None = None,
) -> Generator[Step, None, None]:
    """Forward, backward, clip, step, average - once for each batch, endlessly.

    `objective`: an Objective, or what calls it in a world of several processes; each of those has its equal part of
    every batch. `learning_rate(step)` is asked before each step (from 0). Each part is cut into `micro_batches` whose
    gradients add up to the whole. Random numbers are seeded by (seed, step, micro-batch of the world), so nothing about
    them needs saving. `progress` says what share of the run lies behind; without it this is a trial, in which the
    objective is not told of steps, and what it remembers stays.

    Raises DivergedError before an update that a non-finite loss or gradient would spoil, in all processes alike, and
    says which images the batch held, by their `names` in the split.
    """
    told = weights.module if progress is not None and isinstance(weights.module, Objective) else None
    for step, batch in enumerate(batches, start=start):
        began = time.perf_counter()
        rate = learning_rate(step)
        for group in optimizer.param_groups:
            group["lr"] = rate * group.get("scale", 1.0)
        behind = 0.0 if progress is None else progress()
        if told is not None:
            told.begin_step(behind)
        parts = world.mean(backward(objective, batch, weights, micro_batches, (seed, step), world.rank))
        weights.hold(told.held if told is not None else ())
        norm = gradient_norm(weights, world)
        refuse_non_finite(step, objective, batch, weights, parts, norm, names, world)
        weights.move(optimizer, clip / norm if clip is not None and norm > clip else 1.0)
        weights.clear_gradients()
        if average is not None:
            average.update(step + 1, told.kept(behind) if told is not None and told.follower() is not None else None)
        if told is not None:
            told.end_step(world.summed)
        samples += len(batch.targets) * world.size
        yield Step(step + 1, samples, parts, rate, norm, time.perf_counter() - began)


def backward(objective: nn.Module, batch: Batch, weights: Weights, micro_batches: int, key: tuple[int, int],
             rank: int = 0) -> dict[str, float]:
    """Gradients of the whole batch into the masters; returns the objective's parts, averaged over this process."""
    sums: dict[str, float] = {}
    for number, micro in enumerate(cut(batch, micro_batches)):
        torch.manual_seed(hash_seed(*key, rank * micro_batches + number))
        share = len(micro.targets) / len(batch.targets)
        with compiler_in_words(), unshared(objective, last=number == micro_batches - 1):
            losses = objective(micro)
            (losses.total * share).backward()
        weights.collect_gradients()
        for name, value in losses.parts.items():
            sums[name] = sums.get(name, 0.0) + share * float(value)
    return sums


def cut(batch: Batch, parts: int) -> Iterator[Batch]:
    """Consecutive micro-batches of nearly equal size."""
    if parts == 1:
        yield batch
        return
    for places in torch.arange(len(batch.targets)).chunk(parts):
        here = slice(int(places[0]), int(places[-1]) + 1)
        yield Batch({name: view[here] for name, view in batch.views.items()}, batch.targets[here],
                    batch.indices[here], batch.positions[here])


@torch.no_grad()
def gradient_norm(weights: Weights, world: World = SOLO) -> float:
    norm = weights.gradient_norm()
    return math.sqrt(world.total(norm * norm)) if weights.sharded else norm


def hash_seed(*numbers: int) -> int:
    """One 63-bit seed from several numbers (splitmix64 steps), well spread also for small ones."""
    state = 0
    for number in numbers:
        state = (state ^ (number + 0x9E3779B97F4A7C15)) & 0xFFFFFFFFFFFFFFFF
        state = ((state ^ (state >> 30)) * 0xBF58476D1CE4E5B9) & 0xFFFFFFFFFFFFFFFF
        state = ((state ^ (state >> 27)) * 0x94D049BB133111EB) & 0xFFFFFFFFFFFFFFFF
        state ^= state >> 31
    return state >> 1
