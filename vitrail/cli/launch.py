"""`--devices N` of train and probe: this command N times on this machine, as processes that work together.

What torchrun does on one machine and no more: every process is told who it is, signals for one are for all, and when
one dies the others do not stay behind.
"""

from __future__ import annotations

import ctypes
import os
import shlex
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Sequence
from itertools import pairwise

from vitrail.errors import UsageError
from vitrail.training.launched import LISTENING

GRACE = 3.0
"""Seconds for the others to end by themselves when one process has failed."""

FORWARDED = [number for name in ("SIGINT", "SIGTERM", "SIGUSR1", "SIGHUP") if (number := getattr(signal, name, None))]
ADDRESS = "127.0.0.1"
Child = subprocess.Popen[bytes]


def launch(devices: int, command: Sequence[str], advice: str) -> int:
    """Run `vitrail COMMAND` in `devices` processes; returns the exit code of the first that failed, else of the first.
    `advice`: what to do where one of them was killed.

    Raises UsageError where the machine has fewer cores and no GPU.
    """
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    if devices > cores:
        raise UsageError(f"--devices {devices}: this machine has {cores} cores, and each process needs one. Use at "
                         f"most --devices {cores}, or several machines (docs/cluster.md).")
    with socket.create_server((ADDRESS, 0)) as server:
        children = [started(rank, devices, cores, command, server) for rank in range(devices)]
    return watch(children, advice)


def next_command(devices: int, command: Sequence[str]) -> str:
    """What to type when the run was cut off, as far as the command tells its folder."""
    words = [word for part in command for word in part.split("=", 1)]
    folder = next((after for word, after in pairwise(words) if word in ("--out", "-o")), "RUN")
    return f"vitrail train --resume --out {shlex.quote(folder)} --devices {devices}"


def started(rank: int, devices: int, cores: int, command: Sequence[str], server: socket.socket) -> Child:
    first, linux = rank == 0, sys.platform == "linux"
    usual = {"OMP_NUM_THREADS": str(max(1, cores // devices)), "TORCH_CPP_LOG_LEVEL": "ERROR"}
    if linux:
        usual["GLOO_SOCKET_IFNAME"] = "lo"  # the name of this machine may lead nowhere
    own = {"RANK": rank, "LOCAL_RANK": rank, "WORLD_SIZE": devices, "LOCAL_WORLD_SIZE": devices,
           "MASTER_ADDR": ADDRESS, "MASTER_PORT": server.getsockname()[1]}
    if first:
        own[LISTENING] = server.fileno()
    return subprocess.Popen([sys.executable, "-m", "vitrail", *command],
                            env=usual | os.environ | {name: str(value) for name, value in own.items()},
                            stdin=None if first else subprocess.DEVNULL, pass_fds=(server.fileno(),) if first else (),
                            preexec_fn=end_with_parent if linux else None)


def end_with_parent() -> None:
    """In the child, before it becomes another program: be killed when the launcher dies, however that happens."""
    PR_SET_PDEATHSIG = 1
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


def watch(children: Sequence[Child], advice: str) -> int:
    """Wait for all; hand signals on; say which one died, and end the others with it."""
    def forward(number: int, frame: object) -> None:
        for child in children:
            if child.poll() is None:
                child.send_signal(number)

    before = {number: signal.signal(number, forward) for number in FORWARDED}
    failed: int | None = None
    since = 0.0
    try:
        while any(child.poll() is None for child in children):
            time.sleep(0.05)
            first = next((rank for rank, child in enumerate(children) if has_failed(child)), None)
            if failed is None and first is not None:
                failed, since = first, time.monotonic()
                say_killed(first, children[first], advice)
            if failed is not None and time.monotonic() - since > GRACE:
                end(children)
    finally:
        end(children)
        for number, handler in before.items():
            signal.signal(number, handler)
    codes = [child.returncode for child in children]
    if any(code < 0 for code in codes):
        return 1
    return codes[failed if failed is not None else 0]


def has_failed(child: Child) -> bool:
    """Whether it ended neither well nor as a signal asked it to (128 and more): then others may still be saving."""
    code = child.poll()
    return code is not None and code != 0 and code < 128


def say_killed(rank: int, child: Child, advice: str) -> None:
    if child.returncode < 0:
        name = signal.Signals(-child.returncode).name
        hint = " (the system does so where memory runs out)" if name == "SIGKILL" else ""
        print(f"error: process {rank} was ended by {name}{hint}, and the others end with it. {advice}",
              file=sys.stderr)


def end(children: Sequence[Child]) -> None:
    for child in children:
        if child.poll() is None:
            child.kill()
    for child in children:
        child.wait()
