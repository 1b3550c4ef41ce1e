"""Several processes that do the work of one: each its batches, all of them taken in the order that one would have had.

    rounds(own, count, take, processes)     in each round a batch of every process
    agreed(make, processes)                 what one of them raises, all raise
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Protocol, TypeVar

from vitrail.errors import VitrailError

Thing = TypeVar("Thing")
TOLD = (VitrailError, MemoryError, RuntimeError, KeyboardInterrupt)
"""What a process tells the others before it ends, so that they do not wait for it. Anything else is a defect."""


class Processes(Protocol):
    """What is needed of `training.parallel.World`. `gathered` is collective: what each process has, by rank."""

    @property
    def rank(self) -> int: ...

    @property
    def size(self) -> int: ...

    def gathered(self, thing: Thing) -> list[Thing]: ...


class Alone:
    """One process by itself."""

    rank, size = 0, 1

    def gathered(self, thing: Thing) -> list[Thing]:
        return [thing]


ALONE = Alone()


def rounds(own: Iterator[Thing], count: int, take: Callable[[Thing], None], processes: Processes) -> None:
    """`take` everything that the processes have, in `count` rounds of one thing each, by rank (collective). A process
    whose `own` end earlier has nothing to give in the rounds that are left.

    What one raises, in its own work or in `take`, all raise in the next round; one more round is for what comes last.
    """
    error: BaseException | None = None
    for _ in range(count + 1):
        thing: Thing | None = None
        if error is None:
            try:
                thing = next(own, None)
            except TOLD as raised:
                error = raised
        gathered = processes.gathered((thing, error))
        raise_first([failed for _, failed in gathered])
        try:
            for given, _ in gathered:
                if given is not None:
                    take(given)
        except TOLD as raised:
            error = raised


def agreed(make: Callable[[], Thing], processes: Processes) -> Thing:
    """What this process makes, after all of them have made theirs (collective)."""
    try:
        made, error = [make()], None
    except TOLD as raised:
        made, error = [], raised
    raise_first(processes.gathered(error))
    return made[0]


def raise_first(errors: Iterable[BaseException | None]) -> None:
    """Raise the error of the lowest rank that has one, and say whose it is where the first process has none."""
    for rank, error in enumerate(errors):
        if error is not None:
            if rank > 0:
                error.add_note(f"process {rank} said so")
            raise error
