"""Contestants that run in turn, each in a process of its own, with memory and settings of its own."""

from __future__ import annotations

import multiprocessing as mp
import statistics
import time
from collections.abc import Callable
from multiprocessing.connection import Connection

Work = Callable[[], object]
"""One round. Where it gives back a number, those are its seconds; else they are measured."""


def serve(start: Callable[[], Work], pipe: Connection) -> None:
    """A contestant's process: works when asked, answers with the seconds."""
    work = start()
    pipe.send("ready")
    while pipe.recv():
        begun = time.perf_counter()
        told = work()
        pipe.send(told if isinstance(told, float) else time.perf_counter() - begun)


def race(starts: dict[str, Callable[[], Work]], rounds: int, warm_up: int) -> dict[str, float]:
    """Median seconds of a round of each. `starts` are called in the processes, one after the other, so that nobody
    measures what is best beside another one that is starting. The first rounds do not count."""
    context = mp.get_context("spawn")
    pipes, children = {}, []
    for name, start in starts.items():
        here, there = context.Pipe()
        child = context.Process(target=serve, args=(start, there), daemon=True)
        child.start()
        here.recv()
        pipes[name], children = here, [*children, child]
    taken: dict[str, list[float]] = {name: [] for name in starts}
    for number in range(rounds + warm_up):
        for name, pipe in pipes.items():
            pipe.send(True)
            seconds = pipe.recv()
            if number >= warm_up:
                taken[name].append(seconds)
    for child in children:
        child.terminate()
    return {name: statistics.median(seconds) for name, seconds in taken.items()}
