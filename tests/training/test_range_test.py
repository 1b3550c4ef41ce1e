from __future__ import annotations

import itertools
import json
import math
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from tiny import tiny_recipe, train
from torch import nn

from vitrail.cli.train import learning_rate, resumed_folder
from vitrail.errors import RunError, UsageError
from vitrail.events import Understood
from vitrail.objectives import Losses, Objective
from vitrail.training.optimizer import OptimizerSettings
from vitrail.training.precision import Weights
from vitrail.training.range_test import BELOW_LOWEST, range_test, suggest
from vitrail.vocabulary import Batch

RATES = [1e-6 * 10 ** (place / 10) for place in range(61)]


def falling(place: float) -> list[float]:
    """A loss that falls from 2 to 1, steepest at 10 ** place."""
    return [1 + 1 / (1 + math.exp(4 * (math.log10(rate) - place))) for rate in RATES]


@pytest.mark.parametrize("place", [-4.5, -3, -2])
def test_the_steepest_fall_is_chosen(place: float) -> None:
    seen = suggest(RATES, falling(place))
    assert abs(math.log10(seen.steepest) - place) <= 0.06  # half a step of the rates
    assert seen.rate == pytest.approx(seen.steepest, rel=0.06)  # two digits


def test_a_distance_is_kept_from_where_the_loss_rises_again() -> None:
    losses = falling(-3)
    for place, rate in enumerate(RATES):
        if rate > 3e-3:
            losses[place] = 5.0
    seen = suggest(RATES, losses)
    assert seen.rate <= BELOW_LOWEST * seen.lowest * 1.05
    assert seen.lowest <= 3.2e-3
    assert suggest(RATES, [*losses[:35], math.nan, 0.0]).last == RATES[34]  # the end of the test is the first NaN


@pytest.mark.parametrize("losses", [[1.0, 2.0, 3.0, 4.0], [], [math.nan, 1.0]])
def test_a_loss_that_never_falls_is_said(losses: list[float]) -> None:
    with pytest.raises(RunError, match=r"--lr 0\.001"):
        suggest(RATES, losses)


class Bowl(Objective):
    """0.5 x curvature x |w|^2: plain gradient descent falls below a rate of 2 / curvature, and rises above it."""

    def __init__(self, curvature: float) -> None:
        super().__init__()
        self.model = nn.Linear(4, 1, bias=False)
        nn.init.ones_(self.model.weight)
        self.curvature = curvature

    def losses(self, batch: Batch) -> Losses:
        loss = 0.5 * self.curvature * self.model.weight.square().sum()
        return Losses(loss, {"loss": loss.detach()})


@pytest.mark.parametrize("curvature", [1.0, 30.0, 1000.0])
def test_a_bowl_with_a_known_answer(curvature: float) -> None:
    objective = Bowl(curvature)
    weights = Weights(objective, "fp32")
    places = torch.arange(2)
    batch = Batch({"image": torch.zeros(2, 3, 2, 2, dtype=torch.uint8)}, places, places, places)
    settings = OptimizerSettings(name="sgd", momentum=0, clip=None, weight_decay=0)
    seen = range_test(objective, itertools.repeat(batch), weights, settings)
    assert 0.01 / curvature < seen.rate < 1 / curvature
    assert torch.equal(objective.model.weight, torch.ones(1, 4))  # type: ignore[arg-type]


def test_a_run_finds_its_rate_writes_it_down_and_goes_on_with_it(tmp_path: Path) -> None:
    found = []
    for name in ("one", "two"):
        events = train(tiny_recipe(), tmp_path / name, stop_after=3, find_rate=True)
        assert isinstance(events[0], Understood)
        assert "a range test from 1e-06" in dict(events[0].rows)["optimizer"]
        found.append(json.loads((tmp_path / name / "recipe.json").read_text())["optimizer"]["learning_rate"])
    assert found[0] == found[1] != 3e-3
    kept = tiny_recipe(optimizer__learning_rate=found[0])
    train(kept, tmp_path / "one", resume=True)
    train(kept, tmp_path / "told")
    first, told = (load_file(tmp_path / name / "bundle" / "model.safetensors") for name in ("one", "told"))
    # The test left no trace, and the resumed run had the number.
    assert all(torch.equal(first[name], told[name]) for name in told)


def test_the_command_line_takes_a_number_or_auto() -> None:
    assert learning_rate("3e-4") == {"optimizer.learning_rate": 3e-4}
    assert learning_rate("auto") == learning_rate("search") == learning_rate("search:20") == learning_rate(None) == {}
    for wrong in ("search:", "search:0", "search:-1", "search:x"):
        with pytest.raises(UsageError, match=r"not a number of steps. Use search, or search:200"):
            learning_rate(wrong)
    for wrong in ("0", "-1", "nan", "inf", "", "fast"):
        with pytest.raises(UsageError, match=r"Use a number above 0, such as 0\.001, auto or search"):
            learning_rate(wrong)
    with pytest.raises(UsageError, match="seed and rate"):
        resumed_folder(Path("run"), None, None, None, None, "default", None, "auto")
