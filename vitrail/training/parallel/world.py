"""The processes of one run, as torchrun or `vitrail train --devices N` starts them, and what they tell one another.

A `World` of one process answers at once and imports nothing. In a `Group` every method is collective: all processes
call it, in the same order, and all get the same answer.
"""

from __future__ import annotations

import contextlib
import os
import re
import socket
from collections.abc import Iterator, Mapping
from datetime import timedelta
from typing import TYPE_CHECKING, Any, TypeVar

import torch

from vitrail.errors import RunError, UsageError
from vitrail.training.launched import LISTENING, meeting_place, processes

if TYPE_CHECKING:
    from vitrail.training.guard import Interrupts
    from vitrail.training.parallel.heartbeat import Heartbeat

MEETING_SECONDS = 600.0
"""How long the first process waits for the last one: a slow disk may take minutes to import torch many times."""

LOST = ("connection closed by peer", "connection reset by peer", "broken pipe", "timed out waiting",
        "connection was likely closed", "connection refused", "timeout", "nccl", "gloo")
"""What torch.distributed says, in small letters, where another process does not answer any more."""

HELD: list[Any] = []
"""The process group of the last run, so that its last reference is one of Python's. Ending it waits for its threads,
which may wait for Python's lock; DDP's reducer holds that lock while it lets its group go, and both would wait for ever
(torch 2.13; its issue 56297)."""

Thing = TypeVar("Thing")


class PeerError(RunError):
    """Another process of this run ended or does not answer."""


class World:
    """One process by itself. `local_size` processes share this machine."""

    rank, size, local_rank, local_size = 0, 1, 0, 1
    group: Any = None

    @property
    def first(self) -> bool:
        """True for the one process that writes files and talks."""
        return self.rank == 0

    @property
    def device(self) -> torch.device:
        return torch.device("cuda", self.local_rank) if torch.cuda.is_available() else torch.device("cpu")

    def largest(self, *values: float) -> tuple[float, ...]:
        """The largest over all processes, place by place."""
        return values

    def mean(self, values: Mapping[str, float]) -> dict[str, float]:
        """The mean over all processes, name by name; all have the same names."""
        return dict(values)

    def total(self, value: float) -> float:
        """The sum over all processes."""
        return value

    def summed(self, values: torch.Tensor) -> torch.Tensor:
        """The sum over all processes, number by number."""
        return values

    def gathered(self, thing: Thing) -> list[Thing]:
        """What each process has, by rank."""
        return [thing]

    def told(self, thing: Thing) -> Thing:
        """What the first process has; the others' own is dropped."""
        return thing

    def apart(self) -> World:
        """The same processes with a line of their own, for a thread beside training. Collective."""
        return self

    def silent(self) -> list[int]:
        """Ranks that gave no sign of life for some seconds."""
        return []


SOLO = World()


class Group(World):
    """Several processes. Numbers and words travel by gloo between processors, gradients by NCCL between GPUs."""

    def __init__(self, group: Any, heartbeat: Heartbeat, patience: timedelta) -> None:
        import torch.distributed as dist

        self.dist, self.group, self.heartbeat, self.patience = dist, group, heartbeat, patience
        self.rank, self.size = dist.get_rank(), dist.get_world_size()
        self.local_rank = int(os.environ.get("LOCAL_RANK", 0))
        self.local_size = int(os.environ.get("LOCAL_WORLD_SIZE", 1))

    def reduced(self, values: list[float], operation: str) -> list[float]:
        tensor = torch.tensor(values, dtype=torch.float64)
        self.dist.all_reduce(tensor, getattr(self.dist.ReduceOp, operation), self.group)
        return tensor.tolist()

    def largest(self, *values: float) -> tuple[float, ...]:
        return tuple(self.reduced(list(values), "MAX"))

    def mean(self, values: Mapping[str, float]) -> dict[str, float]:
        return dict(zip(values, (total / self.size for total in self.reduced(list(values.values()), "SUM")),
                        strict=True))

    def total(self, value: float) -> float:
        return self.reduced([value], "SUM")[0]

    def summed(self, values: torch.Tensor) -> torch.Tensor:
        added = values.detach().to("cpu", torch.float64, copy=True)
        self.dist.all_reduce(added, self.dist.ReduceOp.SUM, self.group)
        return added.to(values)

    def gathered(self, thing: Thing) -> list[Thing]:
        things: list[Any] = [None] * self.size
        self.dist.all_gather_object(things, thing, self.group)
        return things

    def told(self, thing: Thing) -> Thing:
        things = [thing if self.first else None]
        self.dist.broadcast_object_list(things, 0, self.group)
        return things[0]  # type: ignore[return-value]

    def apart(self) -> World:
        return Group(self.dist.new_group(backend="gloo", timeout=self.patience), self.heartbeat, self.patience)

    def silent(self) -> list[int]:
        return self.heartbeat.silent()


@contextlib.contextmanager
def join(timeout: float, interrupts: Interrupts) -> Iterator[World]:
    """The processes that the environment names (RANK, WORLD_SIZE, MASTER_ADDR, ...), or this one by itself.

    A process that does not answer for `timeout` seconds ends the run. Raises UsageError where there are more processes
    than GPUs, and RunError where they do not find each other.
    """
    if processes() == 1:
        yield SOLO
        return
    import torch.distributed as dist

    from vitrail.training.parallel.heartbeat import Heartbeat

    patience = timedelta(seconds=timeout)
    local, gpus = int(os.environ.get("LOCAL_RANK", 0)), torch.cuda.device_count()
    if gpus and local >= gpus:
        raise UsageError(f"Process {local} of this machine has no GPU of its own: there are {gpus}. Start at most "
                         f"{gpus} processes: --devices {gpus}")
    try:
        store, rank, size = meet()
        if gpus:
            torch.cuda.set_device(local)
        dist.init_process_group("cpu:gloo,cuda:nccl" if gpus else "gloo", rank=rank, world_size=size, timeout=patience,
                                store=dist.PrefixStore(meeting_place(), store))
    except (RuntimeError, ValueError, OSError) as error:
        raise RunError(f"The {processes()} processes did not find each other at "
                       f"{os.environ.get('MASTER_ADDR')}:{os.environ.get('MASTER_PORT')}: {first_words(error)}. "
                       "docs/cluster.md says how they are started.") from None
    HELD[:] = [dist.group.WORLD]
    interrupts.alone, interrupts.speaks = False, rank == 0
    heartbeat = Heartbeat(rank, size, interrupts)
    try:
        yield Group(dist.new_group(backend="gloo", timeout=patience) if gpus else None, heartbeat, patience)
    finally:
        heartbeat.stop()
        with contextlib.suppress(RuntimeError):
            dist.destroy_process_group()


def meet() -> tuple[Any, int, int]:
    """The store where the processes leave words for each other, this one's rank, and how many there are."""
    import torch.distributed as dist

    waiting = timedelta(seconds=MEETING_SECONDS)
    listening = os.environ.pop(LISTENING, None)
    if listening is None:
        return next(dist.rendezvous("env://", timeout=waiting))
    size = processes()
    return dist.TCPStore(os.environ["MASTER_ADDR"], int(os.environ["MASTER_PORT"]), size, is_master=True,
                         timeout=waiting, wait_for_workers=False, master_listen_fd=int(listening)), 0, size


@contextlib.contextmanager
def lost_peers_named(world: World, advice: str = "Go on from the last checkpoint with --resume.") -> Iterator[None]:
    """Turns what torch says where another process is gone into PeerError, which names it and ends in the `advice`."""
    try:
        yield
    except RuntimeError as error:
        if world.size == 1 or not is_lost_peer(error):
            raise
        silent = world.silent()
        who = f"process {' and '.join(map(str, silent))}" if silent else "another process"
        raise PeerError(f"{who[0].upper()}{who[1:]} of the {world.size} that work together does not answer "
                       f"({first_words(error)}). This is process {world.rank} on {socket.gethostname()}. "
                       f"{advice}") from None


def is_lost_peer(error: RuntimeError) -> bool:
    return any(words in str(error).lower() for words in LOST)


def first_words(error: Exception) -> str:
    """The first sentence of an error of torch, without the place in its code."""
    words = re.sub(r"^\[[^]]*\]\s*", "", str(error).strip())
    return re.split(r"\. |\n", words)[0][:200] or type(error).__name__
