from __future__ import annotations

import math
from itertools import islice

import pytest
import torch

from vitrail.data.preprocess import Preprocess
from vitrail.errors import DivergedError
from vitrail.models import create
from vitrail.objectives import Classify, Losses
from vitrail.training.average import Average
from vitrail.training.loop import Step, backward, cut, hash_seed, steps
from vitrail.training.optimizer import OptimizerSettings, build_optimizer, kernel_names
from vitrail.training.precision import Precision, Weights
from vitrail.vocabulary import Batch

BATCH = 12


def make_batch(seed: int = 0) -> Batch:
    generator = torch.Generator().manual_seed(seed)
    images = torch.randint(0, 256, (BATCH, 3, 8, 8), dtype=torch.uint8, generator=generator)
    labels = torch.randint(0, 3, (BATCH,), generator=generator)
    return Batch({"image": images}, labels, torch.arange(BATCH) + 100, torch.arange(BATCH))


def make_objective(**settings: object) -> Classify:
    torch.manual_seed(0)
    return Classify(create("mu/4", image_size=8, classes=3, **settings), Preprocess(size=8).normalize)


def start(precision: Precision = "fp32", **options: object):  # type: ignore[no-untyped-def]
    objective = make_objective()
    kernels = kernel_names(objective)
    weights = Weights(objective, precision)
    optimizer = build_optimizer(OptimizerSettings(learning_rate=1e-2), weights.named_masters(), kernels)
    batches = iter([make_batch(seed) for seed in range(50)])
    return weights, steps(objective, batches, weights, optimizer, lambda step: 1e-2 / (step + 1), **options)


def test_steps_are_taken_only_when_asked_for() -> None:
    weights, stream = start()
    before = [master.clone() for master in weights.masters]
    first, second, third = islice(stream, 3)
    assert isinstance(first, Step)
    assert [first.step, second.step, third.step] == [1, 2, 3]
    assert third.samples == 3 * BATCH
    assert second.learning_rate == pytest.approx(1e-2 / 2)
    assert any(not torch.equal(old, new) for old, new in zip(before, weights.masters, strict=True))


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_the_loss_falls_on_repeated_images(precision: Precision) -> None:
    objective = make_objective()
    kernels = kernel_names(objective)
    weights = Weights(objective, precision)
    optimizer = build_optimizer(OptimizerSettings(), weights.named_masters(), kernels)
    stream = steps(objective, iter([make_batch()] * 60), weights, optimizer, lambda step: 1e-2)
    losses = [step.parts["loss"] for step in stream]
    assert losses[0] == pytest.approx(torch.log(torch.tensor(3.0)).item(), abs=1e-3)  # the head starts from zero
    assert losses[-1] < 0.1


@pytest.mark.parametrize("parts", [2, 5, 12])
def test_micro_batches_add_up_to_the_whole_batch(parts: int) -> None:
    whole, cut_up = Weights(one := make_objective(), "fp32"), Weights(two := make_objective(), "fp32")
    torch.nn.init.normal_(one.model.head.weight)
    two.load_state_dict(one.state_dict())
    numbers = backward(one, make_batch(), whole, 1, (0, 0)), backward(two, make_batch(), cut_up, parts, (0, 0))
    assert numbers[0]["loss"] == pytest.approx(numbers[1]["loss"], rel=1e-5)
    for first, second in zip(whole.masters, cut_up.masters, strict=True):
        assert torch.allclose(first.grad, second.grad, atol=1e-6)


def test_cutting_keeps_every_image_in_order() -> None:
    batch = make_batch()
    parts = list(cut(batch, 5))
    assert torch.equal(torch.cat([part.targets for part in parts]), batch.targets)
    assert torch.equal(torch.cat([part.views["image"] for part in parts]), batch.views["image"])
    assert torch.equal(torch.cat([part.indices for part in parts]), batch.indices)


def test_clipping_bounds_the_step_and_reports_the_norm_before() -> None:
    _, stream = start(clip=1e-3)
    assert next(stream).gradient_norm > 1e-3
    objective = make_objective()
    weights = Weights(objective, "fp32")
    before = [master.clone() for master in weights.masters]
    optimizer = torch.optim.SGD([{"params": weights.masters, "names": weights.names}], lr=1.0)
    next(steps(objective, iter([make_batch()]), weights, optimizer, lambda step: 1.0, clip=1e-3))
    moved = torch.cat([(old - new).flatten() for old, new in zip(before, weights.masters, strict=True)])
    assert moved.norm().item() == pytest.approx(1e-3, rel=1e-3)


def test_weights_that_are_not_finite_stop_and_name_the_whole_batch() -> None:
    weights, stream = start()
    next(stream)
    with torch.no_grad():
        weights.masters[0].fill_(float("nan"))
    before = [master.clone() for master in weights.masters]
    with pytest.raises(DivergedError, match=r"Step 2: loss and the gradient of .* held number 100, .* and 7 more"):
        next(stream)
    for old, new in zip(before, weights.masters, strict=True):
        assert torch.equal(old.nan_to_num(), new.nan_to_num())


class Spoiled(torch.nn.Module):
    """An objective that answers NaN for pictures whose first pixel is 255."""

    def __init__(self, objective: Classify) -> None:
        super().__init__()
        self.objective = objective

    def forward(self, batch: Batch) -> Losses:
        losses = self.objective(batch)
        spoiled = (batch.views["image"][:, 0, 0, 0] == 255).any()
        total = losses.total * (math.nan if spoiled else 1.0)
        return Losses(total, {**losses.parts, "loss": total.detach()})


@pytest.mark.fault("R7", "One picture whose loss is not finite stops the run before the weights, moments and average "
                   "have changed, and is named.")
@pytest.mark.parametrize("micro_batches", [1, 3])
@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_one_picture_without_a_finite_loss_is_named(precision: Precision, micro_batches: int) -> None:
    objective = make_objective()
    weights = Weights(objective, precision)
    optimizer = build_optimizer(OptimizerSettings(), weights.named_masters(), kernel_names(objective))
    average = Average(weights, 0.9)
    batches = [make_batch(0), make_batch(1)]
    for batch in batches:
        batch.views["image"][:, 0, 0, 0] = 0
    batches[1].views["image"][7, 0, 0, 0] = 255
    names = [f"cat/{number}.png" for number in range(200)]
    stream = steps(Spoiled(objective), iter(batches), weights, optimizer, lambda step: 1e-2, average=average,
                   micro_batches=micro_batches, names=names)
    next(stream)
    before = [value.clone() for value in held(weights, optimizer, average)]
    with pytest.raises(DivergedError, match=r"Step 2: loss and the gradient .* weights were not changed\. It is not "
                       r"finite for cat/107\.png alone, whatever else is in the batch"):
        next(stream)
    assert all(map(torch.equal, before, held(weights, optimizer, average)))


def held(weights: Weights, optimizer: torch.optim.Optimizer, average: Average) -> list[torch.Tensor]:
    moments = [value for state in optimizer.state.values() for value in state.values()]
    return [*weights.masters, *weights.copies, *average.values, *moments]


@pytest.mark.fault("R7", "A finite loss with one gradient that is not is refused in the same way, with the parameter's "
                   "name.")
@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_one_gradient_that_is_not_finite_is_named(bad: float) -> None:
    weights, stream = start()
    next(stream)
    name, kernel = next((name, master) for name, master in weights.named_masters() if "patch" in name)
    kernel.register_hook(lambda gradient: gradient.index_fill(0, torch.tensor(0), bad))
    before = [master.clone() for master in weights.masters]
    with pytest.raises(DivergedError, match=rf"Step 2: the gradient of {name} is not finite.*batch held number 100"):
        next(stream)
    assert all(map(torch.equal, before, weights.masters))


def test_bf16_keeps_masters_in_fp32_and_gradients_are_added_up_in_fp32() -> None:
    objective = make_objective()
    weights = Weights(objective, "bf16")
    assert next(objective.parameters()).dtype == torch.bfloat16
    backward(objective, make_batch(), weights, 4, (0, 0))
    assert all(master.dtype == torch.float32 and master.grad.dtype == torch.float32 for master in weights.masters)
    assert all(copy.grad is None for copy in weights.copies)
    weights.masters[0].add_(1e-4)
    exported = weights.export(objective.model)
    assert torch.equal(exported[weights.names[0].removeprefix("model.")], weights.masters[0])


def test_seeds_are_spread_and_repeat() -> None:
    seeds = {hash_seed(seed, step, part) for seed in range(10) for step in range(100) for part in range(3)}
    assert len(seeds) == 3000
    assert hash_seed(1, 2, 3) == hash_seed(1, 2, 3)
    assert all(0 <= seed < 2**63 for seed in seeds)


def test_the_average_follows_every_step() -> None:
    """Fed the same batches one by one, a mean computed beside it is the same."""
    objective = make_objective()
    weights = Weights(objective, "fp32")
    optimizer = build_optimizer(OptimizerSettings(learning_rate=1e-2), weights.named_masters(), kernel_names(objective))
    average = Average(weights, 0.999)
    expected = [master.clone() for master in weights.masters]
    stream = steps(objective, iter([make_batch()] * 3), weights, optimizer, lambda step: 1e-2, average=average)
    for step in stream:
        kept = (1 + step.step) / (10 + step.step)
        expected = [kept * old + (1 - kept) * new.detach()
                    for old, new in zip(expected, weights.masters, strict=True)]
    for value, wanted in zip(average.values, expected, strict=True):
        torch.testing.assert_close(value, wanted)
