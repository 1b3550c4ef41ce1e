"""Signals ask a run to stop; the run stops where it loses nothing. And one run folder has one run at a time."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from types import FrameType

from vitrail.errors import RunError, SaveError

MOMENT = 2.0
STOPPING = [signal.SIGINT, signal.SIGTERM, *([signal.SIGUSR1] if hasattr(signal, "SIGUSR1") else [])]
"""Ctrl-C, the end that a system or scheduler asks for, and the warning that Slurm sends before it takes a machine."""


class Interrupts:
    """Remembers the first of the signals `STOPPING`. One more, after a moment, ends the process; files are never half
    written.

    A terminal or a nervous finger may send two at once: within `MOMENT` seconds they count as one. One of several
    processes that train together (not `alone`) only notes what it `received`; they stop when all know of it. One of
    them `speaks`, in `words` that say what becomes of the work. `at_once`: nothing is to be saved, and the first
    signal ends the process already.
    """

    def __init__(self, words: str = "the model is being saved", *, at_once: bool = False) -> None:
        self.words, self.at_once = words, at_once
        self.alone = self.speaks = True
        self.given_up = False
        self.received: int | None = None
        self.signal: int | None = None
        self.since = 0.0
        self.unraisable = sys.unraisablehook

    @property
    def exit_code(self) -> int:
        """128 and the number of the signal: 130 after Ctrl-C, 143 after SIGTERM, 138 after SIGUSR1; 0 without one."""
        return 0 if self.signal is None else 128 + self.signal

    def __bool__(self) -> bool:
        return self.signal is not None

    def _receive(self, number: int, frame: FrameType | None) -> None:
        if self.at_once or (self.received is not None and time.monotonic() - self.since > MOMENT):
            self.given_up = True
            raise KeyboardInterrupt(number)
        self.hear(number)

    def _swallowed(self, lost: sys.UnraisableHookArgs) -> None:
        """Python drops what is raised while it collects an object (a generator that was left in the middle). If that
        was the word to give up, it is said again where it is heard."""
        if self.given_up and isinstance(lost.exc_value, KeyboardInterrupt):
            again = threading.Timer(0.01, os.kill, (os.getpid(), *lost.exc_value.args))
            again.daemon = True
            again.start()
        else:
            self.unraisable(lost)

    def hear(self, number: int) -> None:
        """A signal came to this process, or to another of the same run."""
        if self.received is None:
            self.received, self.since = number, time.monotonic()
            if self.alone:
                self.signal = number
            if self.speaks:
                say_at_once(f"stopping: {self.words} (once more to give up)")

    @contextlib.contextmanager
    def listen(self) -> Iterator[Interrupts]:
        """Handle signals inside the block (only the main thread of a process can)."""
        if threading.current_thread() is not threading.main_thread():
            yield self
            return
        before = {number: signal.signal(number, self._receive) for number in STOPPING}
        self.unraisable, sys.unraisablehook = sys.unraisablehook, self._swallowed
        try:
            yield self
        finally:
            sys.unraisablehook = self.unraisable
            for number, handler in before.items():
                signal.signal(number, handler)


def say_at_once(text: str) -> None:
    """Write a line to stderr from a signal handler. `print` cannot: the signal may have come in the middle of one."""
    if sys.__stderr__ is not None:  # else number 2 may belong to any other file
        with contextlib.suppress(OSError):
            os.write(2, f"{text}\n".encode())


@contextlib.contextmanager
def sole_owner(folder: Path) -> Iterator[None]:
    """Hold a run folder. The lock belongs to the process, so it is gone with it, also after kill -9."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock = open(folder / ".lock", "a+")  # noqa: SIM115 - closed below; its errors alone are told apart
    except OSError as error:
        raise SaveError(f"Cannot write to {folder}: {error.strerror or error}. Choose another --out.") from None
    with lock:
        try:
            import fcntl
        except ImportError:  # Windows has no flock; two runs in one folder are then the user's to avoid
            yield
            return
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            lock.seek(0)
            raise RunError(f"{folder} is in use by another run (process {lock.read().strip() or 'unknown'}). "
                           "Wait for it, or choose another --out.") from None
        lock.truncate(0)
        lock.write(f"{os.getpid()} on {socket.gethostname()}, since {time.strftime('%Y-%m-%d %H:%M:%S')}")
        lock.flush()
        yield
