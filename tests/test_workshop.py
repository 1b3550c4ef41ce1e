from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from tiny import tiny_recipe, train

from vitrail.briefing import rows_of
from vitrail.data.source import open_source
from vitrail.events import Understood
from vitrail.models import build, describe
from vitrail.objectives import MaskedAutoencoder
from vitrail.recipe import Recipe
from vitrail.training.backend import Backend
from vitrail.training.checkpoint import read_state
from vitrail.training.guard import Interrupts
from vitrail.vocabulary import Batch
from vitrail.workshop import beginning, set_up, trials
from vitrail.workshop.shop import to_device


@pytest.fixture
def two_threads() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(before)


@pytest.mark.usefixtures("two_threads")
@pytest.mark.parametrize(("seconds", "chosen"), [
    ({2: 0.10, 1: 0.05}, 1), ({2: 0.10, 1: 0.08}, 2), ({2: 6.0, 1: 0.1}, 2)])
def test_half_of_the_threads_compute_where_they_are_clearly_faster(
        tmp_path: Path, monkeypatch: pytest.MonkeyPatch, seconds: dict[int, float], chosen: int) -> None:
    monkeypatch.setattr(trials, "time_steps", lambda shop: seconds[torch.get_num_threads()])
    used = []
    events = train(tiny_recipe(schedule__steps=2), tmp_path / "run",
                   watch=lambda split, progress: used.append(torch.get_num_threads()))
    assert set(used) == {chosen}
    assert torch.get_num_threads() == 2  # the process has its own number back
    assert isinstance(events[0], Understood)
    assert any("the machine is busy" in warning for warning in events[0].warnings) == (chosen == 1)
    state = read_state(next((tmp_path / "run" / "checkpoints").glob("step-*")))
    assert state.threads == chosen


@pytest.mark.usefixtures("two_threads")
def test_a_run_that_goes_on_keeps_its_number_of_threads(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trials, "time_steps", lambda shop: {2: 0.10, 1: 0.05}[torch.get_num_threads()])
    train(tiny_recipe(), tmp_path / "run", stop_after=3)
    monkeypatch.setattr(trials, "time_steps", lambda shop: 0.1)
    used = []
    train(tiny_recipe(), tmp_path / "run", resume=True,
          watch=lambda split, progress: used.append(torch.get_num_threads()))
    assert set(used) == {1}


def test_a_gpu_copies_from_memory_that_does_not_move(monkeypatch: pytest.MonkeyPatch) -> None:
    places, pinned = torch.arange(2), []
    batch = Batch({"image": torch.zeros(2, 3, 4, 4, dtype=torch.uint8)}, places, places, places)
    monkeypatch.setattr(torch.Tensor, "pin_memory", lambda self: pinned.append(self) or self)
    there = to_device(batch, torch.device("meta"))
    assert len(pinned) == 2
    assert (there.views["image"].device.type, there.targets.device.type) == ("meta", "meta")
    assert to_device(batch, torch.device("cpu")) is batch
    assert len(pinned) == 2


def autoencoding(**changes: object) -> Recipe:
    return tiny_recipe(objective__name="mae", objective__mae={"decoder": {"width": 16, "depth": 2, "heads": 2}},
                       **changes)


def test_the_box_counts_what_the_objective_computes_and_not_the_whole_model(tmp_path: Path) -> None:
    """Three of four patches are masked, so it is less than the model by itself, with its decoder."""
    recipe = autoencoding(schedule__steps=1000, model__settings={"depth": 4})
    shop = set_up(recipe, open_source("digits"), tmp_path, Interrupts(), lambda split, progress: None, False)
    operations = 6 * shop.objective.macs() * 64_000
    assert operations < 0.6 * 6 * describe(shop.config).macs * 64_000
    assert f"{operations / 1e9:.3g} gigaFLOPs" in dict(rows_of(shop))["length"]


@pytest.mark.parametrize("compiled", [False, True])
def test_the_blocks_of_a_decoder_are_compiled_where_the_models_are(compiled: bool,
                                                                   monkeypatch: pytest.MonkeyPatch) -> None:
    given: list[object] = []
    monkeypatch.setattr(beginning, "compile_blocks", given.append)
    recipe = autoencoding(training__compile=compiled)
    model = build(recipe.model.configure(0, (8, 8)))
    beginning.choose_what_learns(model, recipe)
    objective = beginning.build_objective(recipe, model, open_source("digits"), Backend("fp32", "fused", ""),
                                          torch.device("cpu"))
    assert isinstance(objective, MaskedAutoencoder)
    assert given == ([model, objective.decoder] if compiled else [])
