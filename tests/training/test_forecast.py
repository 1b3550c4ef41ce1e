from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from tiny import last, tiny_recipe, train

from vitrail.errors import RunError
from vitrail.events import Understood
from vitrail.models import ViTConfig, describe
from vitrail.objectives import Classify
from vitrail.recipe import Recipe
from vitrail.run import run
from vitrail.training import forecast
from vitrail.training.forecast import group_bytes, is_out_of_memory, kilobytes, parts_that_fit, update_seconds
from vitrail.training.guard import Interrupts
from vitrail.training.optimizer import OptimizerSettings
from vitrail.training.precision import Precision, Weights
from vitrail.workshop import Workshop, set_up, trials


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
@pytest.mark.parametrize("name", ["adamw", "sgd"])
def test_timing_an_update_moves_nothing(precision: Precision, name: Any) -> None:
    module = torch.nn.Linear(5, 3)
    weights = Weights(module, precision)
    before = [value.clone() for value in (*weights.masters, *weights.copies)]
    for master in weights.masters:
        master.grad = torch.ones_like(master)
    assert update_seconds(OptimizerSettings(name=name), weights, {"weight"}, averaged=True) > 0
    assert all(map(torch.equal, before, (*weights.masters, *weights.copies)))
    assert all(torch.equal(master.grad, torch.ones_like(master)) for master in weights.masters)
    assert forecast.moment_bytes(OptimizerSettings(name=name), weights) == 18 * 4 * (2 if name == "adamw" else 1)


def test_a_checkpoint_under_way_is_foreseen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """By its real size on the disk, and in what a dry run says."""
    for name, average in (("plain", None), ("averaged", 0.9)):
        recipe = tiny_recipe(training__average=average)
        [said] = run(recipe, tmp_path / "none", dry_run=True)
        assert isinstance(said, Understood)
        assert said.peak_bytes is not None
        assert said.images_per_second > 0
        events = train(recipe, tmp_path / name)
        shop = said_shop(recipe, tmp_path / "none")
        held = sum(file.stat().st_size for file in last(events).folder.glob("checkpoints/step-*/*.safetensors"))
        foreseen = forecast.snapshot_bytes(recipe.optimizer, shop.weights, average is not None)
        assert held == pytest.approx(foreseen, rel=0.1)  # headers are a part of so small a file
        with monkeypatch.context() as patched:
            patched.setattr(trials, "peak_bytes", lambda device: 1000)
            moments = forecast.moment_bytes(recipe.optimizer, shop.weights)
            assert trials.peak_so_far(shop) == 1000 + moments + foreseen


@pytest.mark.parametrize(("steps", "seconds", "processes", "enough"), [
    (1, 99.0, 1, False), (2, 0.1, 1, False), (9, 0.1, 1, False), (10, 0.1, 1, True), (2, 2.5, 1, True),
    (2, 0.1, 4, True), (1, 99.0, 4, False),
])
def test_how_long_is_timed(steps: int, seconds: float, processes: int, enough: bool) -> None:
    assert trials.timed_enough(steps, seconds, processes) == enough


def said_shop(recipe: Recipe, folder: Path) -> Workshop:
    return set_up(recipe, recipe.data.open(), folder, Interrupts(), lambda split, progress: None, resume=False)


@pytest.mark.parametrize(("most_that_fits", "least", "parts"), [(100, 1, 1), (40, 1, 4), (40, 3, 3), (0, 1, 100)])
def test_as_few_parts_as_fit(most_that_fits: int, least: int, parts: int) -> None:
    assert parts_that_fit(least, 100, lambda parts: 100 / parts <= most_that_fits) == parts


def test_what_the_system_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    table = tmp_path / "table"
    table.write_text("VmPeak:\t  9 kB\nVmHWM:\t     20 kB\n")
    assert kilobytes(table, "VmHWM") == 20 * 1024
    assert kilobytes(table, "VmSwap") is None
    assert kilobytes(tmp_path / "none", "VmHWM") is None
    monkeypatch.setattr(forecast, "GROUPS", tmp_path)
    monkeypatch.setattr(forecast, "OWN_GROUP", tmp_path / "own")
    assert group_bytes() is None
    (tmp_path / "own").write_text("0::/a/b\n")
    (tmp_path / "a" / "b").mkdir(parents=True)
    for place, limit, used in (("a", "1000", 400), ("a/b", "max", 300)):
        (tmp_path / place / "memory.max").write_text(f"{limit}\n")
        (tmp_path / place / "memory.current").write_text(f"{used}\n")
    assert group_bytes() == 600


def test_a_real_refusal_of_memory_is_recognized() -> None:
    with pytest.raises(RuntimeError) as caught:
        torch.empty(2**60, dtype=torch.uint8)
    assert is_out_of_memory(caught.value)
    assert is_out_of_memory(torch.OutOfMemoryError("CUDA out of memory"))
    assert not is_out_of_memory(RuntimeError("shapes do not fit"))
    assert not is_out_of_memory(ValueError("can't allocate memory"))


def test_little_memory_is_met_by_more_parts_of_the_same_batch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    plain = tiny_recipe(model__settings={}, schedule__steps=3)
    whole = last(train(plain, tmp_path / "whole"))
    monkeypatch.setattr(trials, "forecast_fits", lambda shop, parts: parts >= 3)
    events = train(plain, tmp_path / "parts")
    assert isinstance(events[0], Understood)
    assert any("they are computed in 4" in warning for warning in events[0].warnings)
    assert any(subject == "memory" and "in 4 parts" in words for subject, words in events[0].rows)
    for first, second in zip(whole.bundle.model.parameters(), last(events).bundle.model.parameters(), strict=True):
        torch.testing.assert_close(first, second, rtol=1e-3, atol=1e-4)


def test_the_forecast_compares_with_what_is_free(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    recipe = tiny_recipe(schedule__steps=1)
    shop = said_shop(recipe, tmp_path / "none")
    monkeypatch.setattr(trials, "free_bytes", lambda device: round(trials.needed_bytes(shop, 16) / trials.ROOM) + 1)
    events = train(recipe, tmp_path / "run")
    assert any("64 images do not fit into memory in 1 parts: they are computed in 4" in warning
               for warning in events[0].warnings)  # type: ignore[union-attr]


def test_a_model_too_large_for_one_image_is_refused_before_a_step(tmp_path: Path,
                                                                  monkeypatch: pytest.MonkeyPatch) -> None:
    recipe = tiny_recipe(schedule__steps=1)
    shop = said_shop(recipe, tmp_path / "none")
    one = trials.needed_bytes(shop, 1)
    monkeypatch.setattr(trials, "backward", lambda *given: pytest.fail("a step was tried"))
    monkeypatch.setattr(trials, "free_bytes", lambda device: int(0.99 * one))
    with pytest.raises(RunError, match=r"mu/4 does not fit into memory: one image of 8x8 pixels \(5 tokens\) takes "
                                       r"about .* Use larger patches .*--image-size.*recompute=true"):
        train(recipe, tmp_path / "run")
    assert not (tmp_path / "run" / "recipe.json").exists()
    monkeypatch.undo()
    monkeypatch.setattr(trials, "free_bytes", lambda device: int(1.01 * one))
    assert train(recipe, tmp_path / "run")


def test_what_one_image_holds_depends_on_kernel_and_recomputing(tmp_path: Path) -> None:
    recipe = tiny_recipe(model__settings={"depth": 3, "patch": 2})
    shop = said_shop(recipe, tmp_path / "none")
    assert isinstance(shop.config, ViTConfig)
    shop.backend = shop.backend._replace(attention="products")
    whole = trials.kept_bytes(shop)
    assert whole == 2 * describe(shop.config).activation_bytes  # in fp32
    shop.backend = shop.backend._replace(attention="fused")
    assert trials.kept_bytes(shop) == whole - 2 * 2 * 2 * shop.config.heads * (2 * 17 + 1) * 17 / 2
    shop.recipe = recipe.replaced({"training.recompute": True})
    assert trials.kept_bytes(shop) < 0.6 * whole


def test_of_a_long_step_a_part_is_timed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its seconds are those of the whole, and its memory, too."""
    recipe = tiny_recipe(schedule__steps=1, training__micro_batches=4)
    shop = said_shop(recipe, tmp_path / "none")
    tried: list[tuple[int, int]] = []
    clock = [0.0]

    def backward(learner: Any, batch: Any, weights: Any, parts: int, key: Any) -> None:
        tried.append((len(batch.targets), parts))
        clock[0] += 0.001 * len(batch.targets)

    monkeypatch.setattr(trials, "backward", backward)
    monkeypatch.setattr(trials, "time", SimpleNamespace(perf_counter=lambda: clock[0], monotonic=lambda: clock[0]))
    monkeypatch.setattr(trials, "update_seconds", lambda *given: 0.0)
    monkeypatch.setattr(trials, "peak_bytes", lambda device: 1000)
    for images, share in ((64, (64, 4)), (32, (32, 2)), (8, (8, 1)), (0.5, (1, 1))):
        tried.clear()
        monkeypatch.setattr(trials, "LONGEST_TRIAL", 3 * shop.objective.macs() * images)
        shop.peak_bytes = None
        assert trials.time_steps(shop) == pytest.approx(0.064)
        assert set(tried) == {share}
        assert shop.peak_bytes == trials.peak_so_far(shop) + round(
            (16 - share[0] // share[1]) * trials.kept_bytes(shop))
    monkeypatch.setattr(trials, "LONGEST_TRIAL", 1e18)
    monkeypatch.setattr(trials, "SHORT_TRIAL", 3 * shop.objective.macs() * 2)
    for share in ((64, 4), (32, 2), (8, 1), (1, 1)):  # a millisecond an image
        tried.clear()
        monkeypatch.setattr(trials, "LONG_STEP", 0.001 * share[0] + 1e-9)
        trials.time_steps(shop)
        assert tried[0] == (2, 1)
        assert set(tried[1:]) == {share}
    tried.clear()
    monkeypatch.setattr(trials, "SHORT_TRIAL", 3 * shop.objective.macs() * 15)
    shop.micro_batches = 32  # two images fit into memory
    trials.time_steps(shop)
    assert tried[0] == (13, 7)


def test_memory_that_runs_out_in_a_step_ends_the_run_and_its_checkpoint_goes_on_in_smaller_parts(
        tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    recipe = tiny_recipe(model__settings={}, schedule__steps=6)
    train(recipe, tmp_path / "run", stop_after=3)
    losses, calls = Classify.losses, []

    def refuse(self: Classify, batch: Any) -> Any:
        calls.append(len(batch.targets))
        if len(calls) > 4:  # three were timed, and one step was taken
            raise torch.OutOfMemoryError("CUDA out of memory")
        return losses(self, batch)

    monkeypatch.setattr(Classify, "losses", refuse)
    monkeypatch.setattr(trials, "MOST", trials.FEWEST)
    with pytest.raises(RunError, match=r"out of memory with batches of 64 in parts of 64.*training\.micro_batches=2"):
        train(recipe, tmp_path / "run", resume=True)
    monkeypatch.undo()
    events = train(recipe.replaced({"training.micro_batches": 2}), tmp_path / "run", resume=True)
    assert last(events).steps == 6
    assert any("in 2 parts" in words for _, words in events[0].rows)  # type: ignore[union-attr]
