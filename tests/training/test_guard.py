from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest

from vitrail.errors import RunError
from vitrail.training.guard import Interrupts, sole_owner


@pytest.mark.fault("R4", "The first signal only asks to stop; a second one, after a moment, ends the process.")
@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_the_first_signal_only_sets_a_flag(number: int, code: int) -> None:
    with Interrupts().listen() as interrupts:
        assert not interrupts
        os.kill(os.getpid(), number)
        assert interrupts
        assert interrupts.exit_code == code
        os.kill(os.getpid(), number)  # at once: counts as the same
        interrupts.since -= 60
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), number)


def test_handlers_are_put_back() -> None:
    before = signal.getsignal(signal.SIGTERM)
    with Interrupts().listen():
        assert signal.getsignal(signal.SIGTERM) != before
    assert signal.getsignal(signal.SIGTERM) == before


@pytest.mark.fault("R10", "A second run in a folder is refused, with the process that holds it.")
def test_a_folder_has_one_run_at_a_time(tmp_path: Path) -> None:
    with sole_owner(tmp_path), pytest.raises(RunError, match=f"in use by another run \\(process {os.getpid()}\\)"), \
            sole_owner(tmp_path):
        pass
    with sole_owner(tmp_path):
        assert (tmp_path / ".lock").exists()
