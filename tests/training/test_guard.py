from __future__ import annotations

import io
import os
import signal
import socket
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from vitrail.errors import RunError
from vitrail.training.guard import Interrupts, sole_owner


@pytest.mark.fault("R4", "The first signal only asks to stop; a second one, after a moment, ends the process.")
@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGUSR1, 138)])
def test_the_first_signal_only_sets_a_flag(number: int, code: int, capfd: pytest.CaptureFixture[str]) -> None:
    with Interrupts().listen() as interrupts:
        assert not interrupts
        os.kill(os.getpid(), number)
        assert interrupts
        assert interrupts.exit_code == code
        os.kill(os.getpid(), number)  # at once: counts as the same
        assert capfd.readouterr().err == "stopping: the model is being saved (once more to give up)\n"
        interrupts.since -= 60
        with pytest.raises(KeyboardInterrupt) as given_up:
            os.kill(os.getpid(), number)
        assert 128 + given_up.value.args[0] == code


def test_where_nothing_is_to_be_saved_the_first_signal_ends(capfd: pytest.CaptureFixture[str]) -> None:
    with Interrupts(at_once=True).listen(), pytest.raises(KeyboardInterrupt) as ended:
        os.kill(os.getpid(), signal.SIGTERM)
    assert ended.value.args == (signal.SIGTERM,)
    assert capfd.readouterr().err == ""


@pytest.mark.fault("R4", "A second signal is heard also where Python drops errors: while it collects what was left in "
                   "the middle.")
def test_a_second_signal_while_an_object_is_collected(capfd: pytest.CaptureFixture[str]) -> None:
    def left_in_the_middle() -> Iterator[int]:
        try:
            yield 1
        finally:
            os.kill(os.getpid(), signal.SIGTERM)
            time.sleep(0.001)  # where the handler is called at the latest

    with Interrupts().listen() as interrupts:
        os.kill(os.getpid(), signal.SIGTERM)
        interrupts.since -= 60
        abandoned = left_in_the_middle()
        next(abandoned)
        del abandoned
        with pytest.raises(KeyboardInterrupt) as given_up:
            time.sleep(5)
    assert given_up.value.args == (signal.SIGTERM,)
    assert interrupts.given_up
    assert "Traceback" not in capfd.readouterr().err


def test_other_errors_that_python_drops_are_told_as_before(capfd: pytest.CaptureFixture[str]) -> None:
    class Failing:
        def __del__(self) -> None:
            raise ValueError("lost")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "unraisablehook", sys.__unraisablehook__)
        with Interrupts().listen():
            Failing()
        assert sys.unraisablehook is sys.__unraisablehook__
    assert "ValueError: lost" in capfd.readouterr().err


def test_a_signal_in_the_middle_of_a_print_is_no_error(capfd: pytest.CaptureFixture[str]) -> None:
    """A second `print` inside the first one, as a handler would make it, raises RuntimeError."""

    class Interrupting(io.RawIOBase):
        def writable(self) -> bool:
            return True

        def write(self, data: Any) -> int:
            os.kill(os.getpid(), signal.SIGTERM)
            return len(data)

    with Interrupts().listen() as interrupts, pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "stderr", io.TextIOWrapper(io.BufferedWriter(Interrupting()), write_through=True))
        print("epoch 3", file=sys.stderr, flush=True)
        assert interrupts
    assert "stopping" in capfd.readouterr().err


def test_handlers_are_put_back() -> None:
    before = signal.getsignal(signal.SIGTERM)
    with Interrupts().listen():
        assert signal.getsignal(signal.SIGTERM) != before
    assert signal.getsignal(signal.SIGTERM) == before


@pytest.mark.fault("R10", "A second run in a folder is refused, with the process that holds it.")
def test_a_folder_has_one_run_at_a_time(tmp_path: Path) -> None:
    held_by = rf"in use by another run \(process {os.getpid()} on {socket.gethostname()}, since 20\d\d-.*\)\. Wait"
    with sole_owner(tmp_path), pytest.raises(RunError, match=held_by), sole_owner(tmp_path):
        pass
    with sole_owner(tmp_path):
        assert (tmp_path / ".lock").exists()
