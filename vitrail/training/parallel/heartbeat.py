"""Signs of life between processes: who is frozen, and a signal that one of them got.

A killed process is noticed by its connections, but a frozen one only by its silence. Each counts up a number of its
own in the store where the processes met; whose number stands still is silent.
"""

from __future__ import annotations

import os
import threading
import time
from datetime import timedelta
from typing import Any

from vitrail.training.guard import Interrupts
from vitrail.training.launched import meeting_place

BEAT = 1.0
"""Seconds between two signs of life."""

PATIENCE = 3.0
"""Beats without one after which a process counts as silent. The first, which holds the store, waits one more, so that
the others can still ask it."""


class Heartbeat(threading.Thread):
    """Beats in the background until `stop`. A signal for this process is told to all, and theirs to this one."""

    def __init__(self, rank: int, size: int, interrupts: Interrupts) -> None:
        super().__init__(name="vitrail-heartbeat", daemon=True)
        self.rank, self.size, self.interrupts = rank, size, interrupts
        self.ended = threading.Event()
        self.store, self.asking = self.connect(), self.connect()  # a connection has one question at a time
        self.start()

    @staticmethod
    def connect() -> Any:
        import torch.distributed as dist

        store = dist.TCPStore(os.environ["MASTER_ADDR"], int(os.environ["MASTER_PORT"]), is_master=False,
                              wait_for_workers=False, timeout=timedelta(seconds=10))
        return dist.PrefixStore(f"{meeting_place()}/beats", store)

    def run(self) -> None:
        while not self.ended.wait(BEAT):
            try:
                self.store.add(f"beat/{self.rank}", 1)
                self.share_signal()
            except RuntimeError:  # the store is gone, and with it the first process
                return

    def share_signal(self) -> None:
        if self.interrupts.received is not None:
            self.store.set("signal", str(self.interrupts.received))
        elif self.store.check(["signal"]):
            self.interrupts.hear(int(self.store.get("signal")))

    def silent(self) -> list[int]:
        """Ranks that do not beat now. Takes some seconds, in which who started the processes may end them: it knows
        more of one that ended by itself."""
        patience = BEAT * (PATIENCE + (self.rank == 0))
        try:
            before = self.beats()
            time.sleep(patience)
            return [rank for rank, count in enumerate(self.beats()) if count == before[rank] and rank != self.rank]
        except RuntimeError:
            time.sleep(patience)
            return [0]

    def beats(self) -> list[int]:
        return [self.asking.add(f"beat/{rank}", 0) for rank in range(self.size)]

    def stop(self) -> None:
        self.ended.set()
        self.join(BEAT)
