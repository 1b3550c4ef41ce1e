"""Commands in real processes that can be killed, without waiting seconds for torch each time.

One process imports everything and forks for each command: nothing of it has run yet, so it has no threads.

    with Attempts() as attempts:
        running = attempts.start(["train", "digits", "--out", "run"], folder)
        os.kill(running.process, signal.SIGKILL)
        running.code()          # -9
"""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import time
import traceback
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import NamedTuple


class Running(NamedTuple):
    """A command that was started; `said` holds what it writes to stdout and stderr."""

    attempts: Attempts
    process: int
    said: Path

    def code(self, seconds: float = 120.0) -> int:
        """Wait for the end: the exit code, or minus the number of the signal that ended it."""
        codes: list[int] = []
        self.until(lambda: codes.extend(json.loads(self.attempts.ask({"ask": self.process}))) or bool(codes), seconds)
        return codes[0]

    def words(self) -> str:
        return self.said.read_text()

    def until(self, happened: Callable[[], bool], seconds: float = 30.0) -> None:
        """Wait for something that the command does."""
        end = time.monotonic() + seconds
        while not happened():
            if time.monotonic() > end:
                os.kill(self.process, 9)
                raise AssertionError(f"nothing happened within {seconds} s; it said: {self.words()}")
            time.sleep(0.001)


class Attempts:
    """The process that forks. Leaving the block ends it with all that it started."""

    def __enter__(self) -> Attempts:
        self.driver = subprocess.Popen([sys.executable, __file__], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                       text=True, env=os.environ | {"OMP_NUM_THREADS": "1"}, start_new_session=True)
        self.number = 0
        return self

    def __exit__(self, *error: object) -> None:
        self.driver.communicate(timeout=30)

    def start(self, arguments: list[str], folder: Path, said: Path | None = None, *,
              environment: Mapping[str, str] | None = None, before: str = "") -> Running:
        """`vitrail ARGUMENTS` in `folder`, with its output in `said`; `before` it, Python that puts a fault in."""
        self.number += 1
        said = said or folder / f"said-{self.number}"
        process = int(self.ask({"start": arguments, "folder": str(folder), "said": str(said),
                                "environment": dict(environment or {}), "before": before}))
        return Running(self, process, said)

    def together(self, arguments: list[str], folder: Path, *, size: int = 2,
                 faults: Mapping[int, str] | None = None,
                 environment: Mapping[str, str] | None = None) -> list[Running]:
        """`size` processes of one run, as torchrun starts them; `faults`: what to put into some of them."""
        with socket.create_server(("127.0.0.1", 0)) as free:
            meeting = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(free.getsockname()[1])}
        return [self.start(arguments, folder, before=(faults or {}).get(rank, ""), environment=meeting | {
            "RANK": str(rank), "WORLD_SIZE": str(size), "LOCAL_RANK": str(rank), "LOCAL_WORLD_SIZE": str(size),
            "GLOO_SOCKET_IFNAME": "lo", **(environment or {})}) for rank in range(size)]

    def ask(self, request: dict[str, object]) -> str:
        assert self.driver.stdin is not None
        assert self.driver.stdout is not None
        self.driver.stdin.write(json.dumps(request) + "\n")
        self.driver.stdin.flush()
        return self.driver.stdout.readline()


def serve() -> None:
    """What the forking process does: a line of JSON comes in, a number goes out."""
    import signal

    import tensorboard.summary.writer.record_writer  # noqa: F401
    import torch._dynamo  # (the first optimizer of a process imports it)
    import torch.distributed.checkpoint.hf_storage
    import torch.distributed.fsdp  # noqa: F401

    import vitrail.cli.app
    import vitrail.cli.console
    import vitrail.cli.train
    import vitrail.recipes
    import vitrail.run  # noqa: F401

    assert len(os.listdir("/proc/self/task")) == 1  # a fork would lose the others

    started = set()
    for line in sys.stdin:
        request = json.loads(line)
        if "ask" in request:
            process, status = os.waitpid(request["ask"], os.WNOHANG)
            started.discard(process)
            answer = [os.waitstatus_to_exitcode(status)] if process else []
        else:
            answer = os.fork()
            if answer == 0:
                become(**request)
            started.add(answer)
        print(answer, flush=True)
    for process in started:
        os.kill(process, signal.SIGKILL)


def become(start: list[str], folder: str, said: str, environment: dict[str, str], before: str) -> None:
    """Be that command, in this forked process, to its end."""
    from vitrail.cli import main
    from vitrail.training import backend

    # Two runs to compare must choose alike: kernels of our own where there are some, else products.
    backend.time_attention = lambda kernel, *_: float(kernel == "fused")
    backend.time_layers = lambda own, *_: float(not own)
    os.chdir(folder)
    os.environ.update(environment)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    words = os.open(said, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_APPEND)
    os.dup2(words, 1)
    os.dup2(words, 2)
    sys.argv = ["vitrail", *start]
    code = 70
    try:
        exec(before, {})
        main()
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else 0
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        os._exit(code)


if __name__ == "__main__":
    serve()
