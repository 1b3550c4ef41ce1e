"""A loss that is no lower than that of one answer for all is told: once, not too early, never of one that learns."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from tiny import tiny_recipe, train
from torch import Tensor

from vitrail.events import Event, Noted
from vitrail.objectives import Losses, Objective
from vitrail.recipe import Recipe
from vitrail.training.collapse import ROWS, Collapse
from vitrail.training.journal import read_journal
from vitrail.training.parallel import World
from vitrail.vocabulary import Batch


class Counting(Objective):
    """Two labels; the counts are those that it is given."""

    def __init__(self, *counts: list[float]) -> None:
        super().__init__()
        self.counts = [torch.tensor(count, dtype=torch.float64) for count in counts]

    def losses(self, batch: Batch) -> Losses:
        raise NotImplementedError

    def counted(self) -> Tensor | None:
        return self.counts.pop(0) if self.counts else None

    def constant_loss(self, counted: Tensor) -> float:
        shares = counted / counted.sum()
        return float(-torch.xlogy(shares, shares).sum())


class Two(World):
    """The other process has counted as much."""

    size = 2

    def gathered(self, thing):  # type: ignore[no-untyped-def]
        return [thing, thing]


def test_counts_add_up_over_calls_and_processes_and_come_back_from_a_checkpoint() -> None:
    collapse = Collapse()
    objective = Counting([1.0, 2.0], [0.0, 1.0])
    collapse.gather(objective, Two())
    collapse.gather(objective, Two())
    assert collapse.counted.tolist() == [2, 6]
    assert Collapse(collapse.counted.tolist()).counted.tolist() == [2, 6]
    row = Collapse([2, 6]).row(objective, {"train/loss": 0.5})
    constant = -(0.25 * np.log(0.25) + 0.75 * np.log(0.75))
    assert row["train/constant_loss"] == pytest.approx(constant)
    assert row["train/beyond_constant"] == pytest.approx(1 - 0.5 / constant)


def spoken(losses: list[float], counts: list[float], progress: float = 0.5) -> list[str]:
    collapse, objective = Collapse(counts), Counting()
    rows = (collapse.row(objective, {"train/loss": loss}) for loss in losses)
    return [words for row in rows if (words := collapse.words(objective, row, progress))]


def test_it_is_told_once_where_nothing_is_learned() -> None:
    entropy = float(np.log(2))
    assert len(spoken([entropy] * 20, [5, 5])) == 1
    assert "learned nothing" in spoken([entropy + 1] * ROWS, [5, 5])[0]
    assert not spoken([entropy] * (ROWS - 1), [5, 5])
    assert not spoken([0.98 * entropy] * 20, [5, 5])
    assert not spoken([entropy] * 20, [5, 5], progress=0.1)
    assert not spoken([entropy + 10 - 0.1 * step for step in range(20)], [5, 5])  # it still falls
    assert spoken([entropy + 0.1 * step for step in range(20)], [5, 5])


def test_targets_that_are_all_the_same_are_told() -> None:
    """A loss of nearly nothing that means nothing."""
    assert "nearly the same everywhere" in spoken([1e-6] * 20, [10, 0])[0]


def test_an_objective_that_counts_nothing_says_nothing() -> None:
    collapse = Collapse()
    collapse.gather(Counting())
    assert collapse.row(Counting(), {"train/loss": 1.0}) == {}
    assert collapse.words(Counting(), {}, 1.0) is None


def test_the_end_says_what_was_not_said_and_takes_back_what_is_over() -> None:
    entropy = float(np.log(2))
    quiet, spoken_of, objective = Collapse([5, 5]), Collapse([5, 5]), Counting()
    spoken_of.told = True
    assert "learned nothing" in str(quiet.verdict(objective, entropy))
    assert "33.3 % above" in str(quiet.verdict(objective, entropy * 4 / 3))
    assert quiet.verdict(objective, 0.9 * entropy) is None
    assert spoken_of.verdict(objective, entropy) is None
    assert "learned something" in str(spoken_of.verdict(objective, 0.9 * entropy))
    assert Collapse().verdict(objective, 1.0) is None


def test_targets_that_change_are_compared_by_what_was_counted_last() -> None:
    class Passing(Counting):
        passing, compared = True, "own"

    collapse, objective = Collapse(), Passing([1.0, 1.0], [3.0, 3.0], [8.0, 0.0])
    collapse.gather(objective)
    collapse.gather(objective)
    assert collapse.row(objective, {"train/own": 0.5, "train/loss": 9.0})["train/constant_loss"] == pytest.approx(
        np.log(2))
    collapse.gather(objective)
    assert collapse.row(objective, {"train/own": 0.5})["train/constant_loss"] == 0
    assert collapse.row(objective, {"train/own": 0.5}) == {}


# In a run.


def masked(**changes: object) -> Recipe:
    return tiny_recipe(objective__name="masked-patch", model__settings={}, **changes)


def notes(events: list[Event]) -> list[str]:
    return [event.text for event in events if isinstance(event, Noted)]


def test_a_run_that_stands_still_says_so_and_one_that_learns_does_not(tmp_path: Path) -> None:
    """Half of the pictures are white and half black, so that what is seen says everything."""
    (tmp_path / "photos").mkdir()
    for number in range(20):
        Image.new("RGB", (8, 8), (255 * (number % 2),) * 3).save(tmp_path / "photos" / f"{number}.png")
    same = {"data__source": str(tmp_path / "photos"), "data__labeled": False, "data__validation": 0.0,
            "training__batch_size": 16, "schedule__steps": 60, "augmentation__crop": "none"}
    learns = train(masked(**same, optimizer__learning_rate=0.01), tmp_path / "learns")
    assert not any("learned nothing" in text for text in notes(learns))
    rows = [row for row in read_journal(tmp_path / "learns" / "metrics.jsonl") if "train/constant_loss" in row]
    assert rows[-1]["train/constant_loss"] == pytest.approx(np.log(2), abs=0.02)
    assert rows[-1]["train/beyond_constant"] > 0.5
    stands = train(masked(**same, optimizer__learning_rate=1e-8), tmp_path / "stands")
    assert len([text for text in notes(stands) if "learned nothing" in text]) == 1
