from __future__ import annotations

from typing import Any

import pytest
import torch

from vitrail.models import create
from vitrail.training.optimizer import OptimizerSettings, build_optimizer, describe_decay, kernel_names, layer_numbers


def test_kernels_are_the_weights_that_multiply_and_nothing_else() -> None:
    model = create("mu/4", image_size=8, classes=3, pooling="token", registers=2, layer_scale=0.1, head_hidden=8)
    kernels = kernel_names(model)
    free = {name for name, _ in model.named_parameters()} - kernels
    assert {"patchify.weight", "head.weight", "hidden.linear.weight", "encoder.blocks.0.attention.qkv.weight",
            "encoder.blocks.0.feed_forward.expand.weight"} <= kernels
    assert all(not name.endswith("bias") and "norm" not in name for name in kernels)
    assert {"prefix.class_token", "prefix.registers", "encoder.positions.tables.0.table", "norm.weight",
            "encoder.blocks.0.branch1.scale"} <= free


@pytest.mark.parametrize("name", ["adamw", "adam", "sgd"])
def test_decay_alone_shrinks_kernels_by_rate_times_decay(name: str) -> None:
    kernel, bias = torch.ones(3, requires_grad=True), torch.ones(3, requires_grad=True)
    settings = OptimizerSettings(name=name, learning_rate=0.1, weight_decay=0.5)  # type: ignore[arg-type]
    optimizer = build_optimizer(settings, [("a.weight", kernel), ("a.bias", bias)], {"a.weight"})
    for _ in range(2):
        kernel.grad, bias.grad = torch.zeros(3), torch.zeros(3)
        optimizer.step()
    assert torch.allclose(kernel, torch.full((3,), 0.95**2))
    assert torch.equal(bias, torch.ones(3))


def test_momentum_equals_the_definition() -> None:
    value = torch.zeros(1, requires_grad=True)
    settings = OptimizerSettings(name="sgd", learning_rate=0.1, weight_decay=0.0, momentum=0.9)
    optimizer = build_optimizer(settings, [("a", value)], set())
    velocity = expected = 0.0
    for gradient in (1.0, -2.0, 0.5):
        value.grad = torch.tensor([gradient])
        optimizer.step()
        velocity = 0.9 * velocity + gradient
        expected -= 0.1 * velocity
    assert value.item() == pytest.approx(expected)


def test_adam_equals_the_definition() -> None:
    value = torch.ones(1, requires_grad=True)
    optimizer = build_optimizer(OptimizerSettings(learning_rate=0.01, weight_decay=0.1), [("a.weight", value)],
                                {"a.weight"})
    first = second = 0.0
    expected = 1.0
    for step, gradient in enumerate((0.3, -0.2, 0.7), start=1):
        value.grad = torch.tensor([gradient])
        optimizer.step()
        first, second = 0.9 * first + 0.1 * gradient, 0.999 * second + 0.001 * gradient**2
        expected *= 1 - 0.01 * 0.1
        expected -= 0.01 * (first / (1 - 0.9**step)) / ((second / (1 - 0.999**step)) ** 0.5 + 1e-8)
    assert value.item() == pytest.approx(expected, rel=1e-5)


def test_what_is_decayed_is_said() -> None:
    model = create("mu/4", image_size=8, classes=3)
    settings = OptimizerSettings(weight_decay=0.03)
    words = describe_decay(settings, build_optimizer(settings, model.named_parameters(), kernel_names(model)))
    assert words.startswith("weight decay 0.03 on 6 of 22 tensors")


@pytest.mark.parametrize(("name", "settings", "layers"), [
    ("mu/4", {"depth": 3, "pooling": "attention", "positions_at": "every"}, 5),
    ("R26x0.25", {"depths": (1, 2)}, 5),
    ("R26x0.25+mu/8", {"stem_depths": (1, 1)}, 5),
])
def test_layers_are_numbered_from_the_pixels_to_the_head(name: str, settings: dict[str, Any], layers: int) -> None:
    names = [name for name, _ in create(name, image_size=32, classes=3, **settings).named_parameters()]
    numbers = dict(zip(names, layer_numbers(names), strict=True))
    assert set(numbers.values()) == set(range(layers))
    assert numbers["head.weight"] == layers - 1
    assert list(numbers.values()) == sorted(numbers.values())
    assert numbers[names[0]] == 0
    before_the_blocks = 2 if "+" in name else 0
    assert all(numbers[one] == before_the_blocks for one in names if one.startswith(("encoder.positions", "prefix")))


def test_lower_layers_learn_more_slowly() -> None:
    """Plain gradient steps of size 1: each layer's parameters move by its share of the rate."""
    settings = OptimizerSettings(name="sgd", learning_rate=0.5, weight_decay=0.0, momentum=0.0, layer_decay=0.5)
    names = ["patchify.weight", "encoder.blocks.0.norm1.weight", "encoder.blocks.1.norm1.weight", "head.bias"]
    values = [torch.zeros(1, requires_grad=True) for _ in names]
    optimizer = build_optimizer(settings, zip(names, values, strict=True), {"patchify.weight"})
    for value in values:
        value.grad = torch.ones(1)
    optimizer.step()
    assert [value.item() for value in values] == [-0.0625, -0.125, -0.25, -0.5]
    assert {tuple(group["names"]): group["scale"] for group in optimizer.param_groups}[("head.bias",)] == 1.0
