"""What a step will take, before anything has moved: seconds of the update, bytes of memory, and how many parts of a
batch fit into it."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import torch

from vitrail.training.loop import gradient_norm
from vitrail.training.optimizer import OptimizerSettings, build_optimizer
from vitrail.training.parallel.parts import local
from vitrail.training.precision import Weights

STATUS, MEMORY, GROUPS = Path("/proc/self/status"), Path("/proc/meminfo"), Path("/sys/fs/cgroup")
OWN_GROUP = Path("/proc/self/cgroup")

MOMENTS = {"adam": 2, "adamw": 2, "sgd": 1}
"""Numbers that an optimizer keeps for each parameter, from its first step on."""


@torch.no_grad()
def update_seconds(settings: OptimizerSettings, weights: Weights, kernels: set[str], averaged: bool,
                   repeats: int = 2) -> float:
    """Seconds of norm, optimizer, publishing and average, with the gradients that lie in the masters.

    The optimizer moves copies; the weights stay as they are. Needs memory for the copies and their moments, of which
    the backward pass has just freed more, or as much.
    """
    copies = [master.detach().clone() for master in weights.masters]
    for copy, master in zip(copies, weights.masters, strict=True):
        copy.grad = master.grad
    rounded = None if weights.rounded is None else {
        id(copy): torch.empty_like(own.data) for copy, own in zip(copies, weights.copies, strict=True)}
    optimizer = build_optimizer(settings, zip(weights.names, copies, strict=True), kernels, rounded)
    taken = []
    for _ in range(repeats + 1):  # the first one makes the moments
        start = time.perf_counter()
        gradient_norm(weights)
        weights.move(optimizer)  # and publish, where torch does, unchanged masters
        if averaged:
            torch._foreach_lerp_([local(copy) for copy in copies], [local(master) for master in weights.masters], 0.5)
        synchronize(copies[0].device)
        taken.append(time.perf_counter() - start)
    return min(taken[1:])


def synchronize(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def moment_bytes(settings: OptimizerSettings, weights: Weights) -> int:
    """What the first step adds to the memory of the ones that were timed."""
    count = MOMENTS[settings.name] if settings.name != "sgd" or settings.momentum else 0
    return count * sum(local(master).nbytes for master in weights.masters)


def snapshot_bytes(settings: OptimizerSettings, weights: Weights, averaged: bool) -> int:
    """What a checkpoint keeps in the processor's memory while it is written and training goes on: weights, moments and
    their average."""
    masters = sum(local(master).nbytes for master in weights.masters)
    return masters * (2 if averaged else 1) + moment_bytes(settings, weights)


def peak_bytes(device: torch.device) -> int | None:
    """The most that this process has held so far: on its GPU, or in memory; None where the system does not say."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    return kilobytes(STATUS, "VmHWM")


def kilobytes(table: Path, name: str) -> int | None:
    """Bytes of one row of a table of Linux, such as `MemAvailable:   1024 kB`."""
    try:
        lines = table.read_text().splitlines()
    except OSError:
        return None
    return next((1024 * int(line.split()[1]) for line in lines if line.startswith(f"{name}:")), None)


def free_bytes(device: torch.device) -> int | None:
    """What this process may still take: of the GPU, or of the machine and of every control group it runs in."""
    if device.type == "cuda":
        unused = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
        return torch.cuda.mem_get_info(device)[0] + unused
    given = [amount for amount in (kilobytes(MEMORY, "MemAvailable"), group_bytes()) if amount is not None]
    return min(given, default=None)


def group_bytes() -> int | None:
    """The least that any control group (version 2) around this process has left; None where none has a limit."""
    try:
        own = next(line[3:] for line in OWN_GROUP.read_text().splitlines() if line.startswith("0::"))
    except (OSError, StopIteration):
        return None
    place, left = GROUPS / own.lstrip("/"), []
    for folder in (place, *place.parents):
        if not folder.is_relative_to(GROUPS):
            break
        try:
            limit, used = (folder / "memory.max").read_text().strip(), int((folder / "memory.current").read_text())
        except OSError:
            continue
        if limit != "max":
            left.append(max(0, int(limit) - used))
    return min(left, default=None)


def is_out_of_memory(error: BaseException) -> bool:
    """A GPU says so by an error of its own; a CPU's allocator only in words, and only where the system refuses."""
    words = str(error)
    return isinstance(error, torch.OutOfMemoryError | MemoryError) or (isinstance(error, RuntimeError) and (
        "can't allocate memory" in words or "not enough memory: you tried to allocate" in words))


def parts_that_fit(least: int, most: int, fits: Callable[[int], bool]) -> int:
    """The smallest number of parts from `least` on, doubled each time, of which one fits; `most` where none does."""
    parts = least
    while parts < most and not fits(parts):
        parts = min(2 * parts, most)
    return parts
