"""What is tried before a run begins, on weights that stay: memory, threads, the time of a step, the learning rate."""

from __future__ import annotations

import statistics
import time
from collections.abc import Iterable, Iterator
from contextlib import closing

import torch

from vitrail.errors import RunError
from vitrail.models import ModelConfig, ViTConfig, describe
from vitrail.models.accounting import map_bytes
from vitrail.training.forecast import (
    free_bytes,
    is_out_of_memory,
    moment_bytes,
    parts_that_fit,
    peak_bytes,
    snapshot_bytes,
    synchronize,
    update_seconds,
)
from vitrail.training.loop import backward, cut
from vitrail.training.optimizer import kernel_names
from vitrail.training.parallel.parts import local
from vitrail.training.parallel.replicas import unshared
from vitrail.training.range_test import in_words, range_test
from vitrail.vocabulary import Batch
from vitrail.workshop.shop import Workshop, prepared

LONG_STEP = 5.0
"""Seconds of a step so large that more threads always pay, and a second measurement does not."""

BUSY = 1.3
"""How much faster half of the threads have to be: on a quiet machine they never are."""

FEWEST, MOST, TRIAL_SECONDS = 2, 10, 2.0
"""Steps that are timed: at least, at most, and as long as it does not take longer than this."""

ROOM = 0.8
"""Share of the free memory that a forecast may fill: kernels have scratch memory of their own."""

LONGEST_TRIAL = 2e12
"""Multiply-adds of a step that is timed on a processor, at most: some seconds. Of a larger one a part is timed."""


SHORT_TRIAL = 2e11
"""Multiply-adds of a first look at a step of more than four times as many: models with many patches and little width
take several times as long for theirs as others do."""


def parts_for_memory(shop: Workshop, least: int) -> int:
    """Parts of a batch of which one fits into memory, at least `least`; a note says where that is more.

    A GPU is asked by trying. A CPU's memory must not be tried, since the system kills whoever takes too much: there it
    is forecast from the configuration.
    """
    if shop.interrupts:
        return least
    fits = (lambda parts: one_part_runs(shop, parts)) if shop.device.type == "cuda" else (
        lambda parts: forecast_fits(shop, parts))
    parts = parts_that_fit(least, shop.share, lambda parts: not any(shop.world.largest(not fits(parts))))
    if parts == shop.share:
        refuse_too_large(shop)
    if parts > least:
        shop.notes.append(f"{shop.share} images do not fit into memory in {least} parts: they are computed in {parts}, "
                          "whose gradients add up to the same")
    return parts


def refuse_too_large(shop: Workshop) -> None:
    """Raises RunError, in all processes, where not even a batch of one image has room (collective)."""
    if shop.device.type == "cuda":
        large = not one_part_runs(shop, shop.share)
    else:
        free = free_bytes(shop.device)
        large = free is not None and needed_bytes(shop, 1) > free / shop.world.local_size
    if not any(shop.world.largest(large)):
        return
    config, free = shop.config, free_bytes(shop.device)
    height, width = config.image_size
    tokens = f" ({describe(config).tokens:,} tokens)" if isinstance(config, ViTConfig) else ""
    room = "" if free is None else f", and {free / 2**30 / shop.world.local_size:.1f} GiB can be had"
    raise RunError(f"{config.name} does not fit into memory: one image of {height}x{width} pixels{tokens} takes about "
                   f"{needed_bytes(shop, 1) / 2**30:.1f} GiB in training{room}. Use larger patches or a smaller model "
                   "(--model), smaller images (--image-size), or --set training.recompute=true, which keeps less.")


def forecast_fits(shop: Workshop, parts: int) -> bool:
    """True where what training holds stays within what may still be taken, or where that is unknown."""
    free = free_bytes(shop.device)
    return free is None or needed_bytes(shop, -(-shop.share // parts)) < ROOM * free / shop.world.local_size


def needed_bytes(shop: Workshop, images: int) -> float:
    """Of so many images at a time: activations, gradients, moments and a checkpoint that is being written."""
    gradients = sum(4 * local(master).numel() for master in shop.weights.masters)
    moments = moment_bytes(shop.recipe.optimizer, shop.weights)
    return kept_bytes(shop) * images + gradients + moments + written_beside(shop)


def kept_bytes(shop: Workshop) -> float:
    """Activations of one picture of a batch, with the kernel and the recomputing of this run."""
    wider = 1 if shop.weights.separate else 2  # the accounting is in 2-byte numbers
    return wider * sum(times * kept_by(shop, config) for times, config in shop.objective.passes())


def kept_by(shop: Workshop, config: ModelConfig) -> float:
    """The same by one pass through a model, in 2-byte numbers."""
    kept: float = describe(config).activation_bytes
    if isinstance(config, ViTConfig):
        inside = config
        if shop.recipe.training.recompute:  # one block, and what enters each of the others
            inside = config.model_copy(update={"depth": 1})
            kept = describe(inside).activation_bytes + 2 * (config.depth - 1) * config.tokens * config.width
        if shop.backend.attention in ("fused", "native") and config.positions not in ("relative", "relative-bias"):
            kept -= map_bytes(inside)
    return kept


def one_part_runs(shop: Workshop, parts: int) -> bool:
    """Try the largest part of a batch, with the moments' memory taken; no process waits for another's gradients."""
    with closing(shop.loader.batches(shop.samples)) as stream:
        micro = next(cut(prepared(shop, next(stream)), parts))
    try:
        held = torch.empty(moment_bytes(shop.recipe.optimizer, shop.weights), dtype=torch.uint8, device=shop.device)
        with unshared(shop.learner, last=False):
            backward(shop.objective, micro, shop.weights, 1, (0, 0))
        del held
    except RuntimeError as error:
        if not is_out_of_memory(error):
            raise
        return False
    finally:
        shop.weights.clear_gradients()
        if shop.device.type == "cuda":
            torch.cuda.empty_cache()
    return True


def settle_threads(shop: Workshop, recorded: int | None) -> None:
    """Decide how many threads compute, and time a step. A run that goes on keeps the number of its checkpoint.

    Beside another busy process all threads wait for the slowest one at every operation, and half of them are faster.
    """
    available = torch.get_num_threads()
    torch.set_num_threads(min(recorded or available, available))
    shop.step_seconds, = shop.world.largest(time_steps(shop))
    if recorded or shop.device.type != "cpu" or available == 1 or shop.step_seconds > LONG_STEP or shop.world.size > 1:
        return
    torch.set_num_threads(available // 2)
    halved = time_steps(shop)
    if BUSY * halved < shop.step_seconds:
        shop.notes.append(f"computing with {available // 2} of {available} threads: the machine is busy with something "
                          "else, and they are faster")
        shop.step_seconds = halved
    else:
        torch.set_num_threads(available)


def time_steps(shop: Workshop) -> float:
    """Seconds of one step, from gradients that are thrown away: the run has not begun and nothing moves.

    Its pictures come out of the loader, whose threads share the processor as they will in training. The median: beside
    other programs the quickest step says too little of a long run (measured: 9 to 39 % less time than it took). Of a
    step of many seconds a few parts or images are timed, since nothing is said and no signal is heeded meanwhile.
    """
    taken: list[float] = []
    update = 0.0
    began = time.monotonic()
    with closing(shop.loader.batches(shop.samples)) as stream:
        cuts, parts = timed_share(shop, in_a_moment(shop, stream))
        while not timed_enough(len(taken) - 1, time.monotonic() - began, shop.world.size) and not shop.interrupts:
            start = time.perf_counter()
            batch = prepared(shop, next(stream))
            ready = time.perf_counter()
            timed = next(cut(batch, cuts))
            backward(shop.learner, timed, shop.weights, parts, (0, 0))
            synchronize(shop.device)
            share = len(timed.targets) / len(batch.targets)
            taken.append(ready - start + (time.perf_counter() - ready) / share)
            if len(taken) > FEWEST and not update:
                shop.peak_bytes = peak_so_far(shop, -(-len(timed.targets) // parts))
                update = update_seconds(shop.recipe.optimizer, shop.weights, kernel_names(shop.objective),
                                        shop.average is not None)
            shop.weights.clear_gradients()
    return statistics.median(taken[1:] or taken) + update if taken else 0.0


def in_a_moment(shop: Workshop, stream: Iterator[Batch]) -> int:
    """How many images of a batch take no more than LONG_STEP, from a few of them where all may take long (collective).
    """
    few = max(int(SHORT_TRIAL / (3 * shop.objective.macs())), 1)
    if shop.device.type == "cuda" or 4 * few >= shop.share or shop.interrupts:
        return shop.share
    batch = prepared(shop, next(stream))
    start = time.perf_counter()
    tried = next(cut(batch, -(-shop.share // few)))
    parts = -(-len(tried.targets) * shop.micro_batches // shop.share)  # no more at once than fits into memory
    backward(shop.learner, tried, shop.weights, parts, (0, 0))
    shop.weights.clear_gradients()
    seconds, = shop.world.largest((time.perf_counter() - start) / len(tried.targets))
    return int(LONG_STEP / seconds)


def timed_share(shop: Workshop, most: int) -> tuple[int, int]:
    """Of how many equal cuts of a batch one is timed, of at most so many images, and in how many parts; the same in all
    processes."""
    images = max(min(int(LONGEST_TRIAL / (3 * shop.objective.macs())), most), 1)
    if shop.device.type == "cuda" or images >= shop.share:
        return 1, shop.micro_batches
    return -(-shop.share // images), -(-images * shop.micro_batches // shop.share)


def timed_enough(steps: int, seconds: float, processes: int) -> bool:
    """After the first step, which warms up. Several processes have to take as many steps each, whatever their time."""
    return steps >= FEWEST and (steps >= MOST or seconds > TRIAL_SECONDS or processes > 1)


def peak_so_far(shop: Workshop, images: int | None = None) -> int | None:
    """What training will hold: the most until now, the optimizer's moments where they are still to come, and where the
    device's memory is the processor's, a checkpoint that is being written. Of a part of a batch only so many `images`
    have been tried."""
    peak = peak_bytes(shop.device)
    if peak is None:
        return None
    untried = 0 if images is None else max(-(-shop.share // shop.micro_batches) - images, 0)
    peak += round(untried * kept_bytes(shop))
    moments = 0 if shop.optimizer.state else moment_bytes(shop.recipe.optimizer, shop.weights)
    return peak + moments + written_beside(shop)


def written_beside(shop: Workshop) -> int:
    return snapshot_bytes(shop.recipe.optimizer, shop.weights, shop.average is not None) if (
        shop.device.type == "cpu") else 0


def find_learning_rate(shop: Workshop) -> None:
    """Run a range test, and put what it found into the recipe with what it saw. Raises KeyboardInterrupt where a signal
    comes meanwhile: nothing has begun that could be gone on with."""
    settings = shop.recipe.optimizer
    with closing(shop.loader.batches()) as batches:
        seen = range_test(shop.learner.train(), (prepared(shop, batch) for batch in until_asked_to_stop(shop, batches)),
                          shop.weights, settings, micro_batches=shop.micro_batches, seed=shop.recipe.seed,
                          world=shop.world)
    recipe = shop.recipe.replaced({"optimizer.learning_rate": seen.rate})
    shop.recipe = recipe.model_copy(update={"reasons": recipe.reasons | {"optimizer": in_words(seen, settings)}})


def until_asked_to_stop(shop: Workshop, batches: Iterable[Batch]) -> Iterator[Batch]:
    for batch in batches:
        if shop.interrupts:
            raise KeyboardInterrupt(shop.interrupts.signal)
        yield batch
