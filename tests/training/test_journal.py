from __future__ import annotations

from pathlib import Path

import pytest

from vitrail.errors import SaveError
from vitrail.training.journal import JOURNAL, Journal, read_journal


@pytest.mark.fault("R14", "A last line that a crash cut short is left out.")
def test_rows_come_back_and_a_cut_last_line_is_left_out(tmp_path: Path) -> None:
    journal = Journal(tmp_path)
    journal.write({"step": 1, "samples": 8, "train/loss": 1.5})
    journal.write({"step": 2, "samples": 16, "train/loss": 1.25})
    journal.close()
    with open(tmp_path / JOURNAL, "a") as file:
        file.write('{"step": 3, "sam')
    assert [row["train/loss"] for row in read_journal(tmp_path / JOURNAL)] == [1.5, 1.25]
    assert list((tmp_path / "tb").glob("events.out.tfevents.*"))


def test_a_resumed_run_drops_rows_after_its_checkpoint(tmp_path: Path) -> None:
    journal = Journal(tmp_path)
    for step in range(1, 6):
        journal.write({"step": step, "samples": step})
    journal.close()
    again = Journal(tmp_path, upto_step=3)
    again.write({"step": 4, "samples": 4})
    again.close()
    assert [row["step"] for row in read_journal(tmp_path / JOURNAL)] == [1, 2, 3, 4]


@pytest.mark.fault("R14", "A journal that cannot be written is told once and never stops training.")
def test_a_journal_that_cannot_be_written_says_so_and_goes_on(tmp_path: Path) -> None:
    journal = Journal(tmp_path)
    (tmp_path / JOURNAL).mkdir()
    journal.write({"step": 1, "samples": 1})
    journal.close()
    assert "training goes on without it" in (journal.trouble or "")


@pytest.mark.fault("R3", "A full disk as a run goes on leaves the journal whole, and the run goes on.")
def test_a_journal_that_cannot_be_cut_stays_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    journal = Journal(tmp_path)
    for step in range(1, 6):
        journal.write({"step": step, "samples": step})
    journal.close()

    def full(path: Path, text: str) -> None:
        raise SaveError(f"Cannot save {path}: no space left.")

    monkeypatch.setattr("vitrail.training.journal.write_text", full)
    again = Journal(tmp_path, upto_step=3)
    again.close()
    assert "no space left" in (again.trouble or "")
    assert len(read_journal(tmp_path / JOURNAL)) == 5
