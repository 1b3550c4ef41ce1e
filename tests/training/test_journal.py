from __future__ import annotations

import contextlib
import resource
from collections.abc import Iterator
from pathlib import Path

import pytest

from vitrail.errors import SaveError
from vitrail.training.journal import JOURNAL, Journal, read_journal


@pytest.mark.fault("R14", "A last line that a crash cut short is left out.")
def test_rows_come_back_and_a_cut_last_line_is_left_out(tmp_path: Path) -> None:
    journal = Journal(tmp_path)
    journal.write({"step": 1, "samples": 8, "train/loss": 1.5})
    journal.write({"step": 2, "samples": 16, "train/loss": 1.25})
    with open(tmp_path / JOURNAL, "a") as file:
        file.write('{"step": 3, "sam')
    assert [row["train/loss"] for row in read_journal(tmp_path / JOURNAL)] == [1.5, 1.25]
    assert losses_of(tmp_path) == {8: 1.5, 16: 1.25}
    assert list((tmp_path / "tb").glob("events.out.tfevents.*"))


def test_a_resumed_run_drops_rows_after_its_checkpoint(tmp_path: Path) -> None:
    journal = Journal(tmp_path)
    for step in range(1, 6):
        journal.write({"step": step, "samples": step})
    again = Journal(tmp_path, upto_step=3)
    again.write({"step": 4, "samples": 4})
    assert [row["step"] for row in read_journal(tmp_path / JOURNAL)] == [1, 2, 3, 4]


@pytest.mark.fault("R14", "A journal that cannot be written is told once and never stops training.")
def test_a_journal_that_cannot_be_written_says_so_and_goes_on(tmp_path: Path) -> None:
    journal = Journal(tmp_path)
    (tmp_path / JOURNAL).mkdir()
    journal.write({"step": 1, "samples": 1})
    assert "training goes on without it" in (journal.trouble or "")


@pytest.mark.fault("R14", "On a full disk rows are lost whole; those that find room again are read.")
def test_a_full_disk_loses_rows_whole(tmp_path: Path) -> None:
    journal = Journal(tmp_path)
    for step in range(1, 40):
        with largest_file(1200) if 10 <= step < 30 else contextlib.nullcontext():
            journal.write({"step": step, "samples": step, "train/loss": 1 / 3})
    assert "cannot be written" in (journal.trouble or "")
    steps = [row["step"] for row in journal.rows()]
    assert steps[:9] == list(range(1, 10))
    assert steps[-10:] == list(range(30, 40))
    assert 19 < len(steps) < 39
    assert losses_of(tmp_path).keys() >= set(range(30, 40))


@contextlib.contextmanager
def largest_file(size: int) -> Iterator[None]:
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def losses_of(folder: Path) -> dict[int, float]:
    """The losses by samples, as TensorBoard shows them."""
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    board = EventAccumulator(str(folder / "tb"))
    board.Reload()
    return {event.step: event.value for event in board.Scalars("train/loss")}


def test_the_board_shows_each_step_once_after_a_resume(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for upto, host in ((None, "a"), (3, "b")):
        monkeypatch.setattr("socket.gethostname", lambda host=host: host)
        journal = Journal(tmp_path, upto_step=upto)
        journal.write({"step": upto or 0, "samples": 64 * (upto or 0)})
        for step in range((upto or 0) + 1, 6):
            journal.write({"step": step, "samples": 64 * step, "train/loss": float(step if upto is None else -step)})
    assert losses_of(tmp_path) == {64: 1, 128: 2, 192: 3, 256: -4, 320: -5}


@pytest.mark.fault("R3", "A full disk as a run goes on leaves the journal whole, and the run goes on.")
def test_a_journal_that_cannot_be_cut_stays_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    journal = Journal(tmp_path)
    for step in range(1, 6):
        journal.write({"step": step, "samples": step})

    def full(path: Path, text: str) -> None:
        raise SaveError(f"Cannot save {path}: no space left.")

    monkeypatch.setattr("vitrail.training.journal.write_text", full)
    again = Journal(tmp_path, upto_step=3)
    assert "no space left" in (again.trouble or "")
    assert len(read_journal(tmp_path / JOURNAL)) == 5
