"""Standardized convolutions, their padding and the group norms beside them."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from vitrail.models.convolution import (
    StandardizedConv,
    Style,
    check_size,
    group_norm,
    halved,
    map_channels,
    map_stride,
    max_pool,
    padding_of,
    root_channels,
    unit_sizes,
)

CENTERED = Style("centered", 1e-5, "variance", 1e-10)
SAME = Style("same", 1e-6, "deviation", 1e-5)


@pytest.fixture
def fresh_memory_is_nan() -> Iterator[None]:
    torch.use_deterministic_algorithms(True)  # with it, torch.empty holds NaN
    yield
    torch.use_deterministic_algorithms(False)


@pytest.mark.parametrize(("style", "eps"), [(CENTERED, 1e-10), (SAME, 1e-5), (CENTERED, 1.0)])
def test_kernels_are_standardized_as_published(style: Style, eps: float) -> None:
    style = style._replace(standardize_eps=eps)
    layer = StandardizedConv(style, 5, 4, side=3)
    torch.nn.init.normal_(layer.weight, mean=3.0, std=1e-2)
    weight = layer.weight.detach().double().numpy().reshape(4, -1)
    mean, variance = weight.mean(1, keepdims=True), weight.var(1, keepdims=True)
    divisor = np.sqrt(variance + eps) if style.standardize == "variance" else np.sqrt(variance) + eps
    kernel = layer.kernel().detach().numpy().reshape(4, -1)
    assert kernel == pytest.approx((weight - mean) / divisor, rel=1e-4, abs=1e-4)


def test_a_kernel_in_bf16_is_standardized_in_fp32() -> None:
    layer = StandardizedConv(CENTERED, 64, 2, side=3)
    torch.nn.init.normal_(layer.weight, mean=1.0, std=0.1)
    layer.bfloat16()
    kernel = layer.kernel()
    assert kernel.dtype == torch.bfloat16
    assert kernel.float().mean((1, 2, 3)).abs().max() < 1e-3
    assert kernel.detach().float().std((1, 2, 3)).numpy() == pytest.approx(np.ones(2), abs=0.01)


@pytest.mark.parametrize(
    ("size", "side", "stride", "expected"),
    [(224, 7, 2, (2, 3)), (225, 7, 2, (3, 3)), (112, 3, 2, (0, 1)), (56, 3, 1, (1, 1)), (56, 1, 2, (0, 0)),
     (7, 3, 2, (1, 1)), (1, 3, 2, (1, 1)), (1, 7, 2, (3, 3))],
)
def test_same_padding_is_flaxs(size: int, side: int, stride: int, expected: tuple[int, int]) -> None:
    assert padding_of(size, side, stride, "same") == expected
    assert padding_of(size, side, stride, "centered") == (side // 2, side // 2)


@pytest.mark.parametrize("style", [CENTERED, SAME])
@pytest.mark.parametrize("size", [(8, 8), (7, 10), (1, 3)])
@pytest.mark.parametrize(("side", "stride"), [(7, 2), (3, 1), (3, 2), (1, 1), (1, 2)])
def test_both_paddings_leave_the_same_size(style: Style, size: tuple[int, int], side: int, stride: int) -> None:
    values = StandardizedConv(style, 2, 3, side, stride)(torch.zeros(1, 2, *size))
    assert values.shape[-2:] == (halved(size[0], stride), halved(size[1], stride))


@pytest.mark.usefixtures("fresh_memory_is_nan")
@pytest.mark.parametrize("style", [CENTERED, SAME])
@pytest.mark.parametrize("size", [(1, 1), (1, 3), (3, 1), (2, 2), (5, 4)])
@pytest.mark.parametrize(("side", "stride"), [(7, 2), (3, 1), (3, 2), (1, 1), (1, 2)])
def test_gradients_in_bf16_are_those_in_fp32(style: Style, size: tuple[int, int], side: int, stride: int) -> None:
    """Also where a map of one position is halved, in which torch leaves some of them as the memory was."""
    layer = StandardizedConv(style, 32, 32, side, stride)
    torch.nn.init.normal_(layer.weight)
    values = torch.randn(16, 32, *size)
    gradients = []
    for dtype in (torch.float32, torch.bfloat16):
        made = layer.to(dtype)(values.to(dtype))
        gradients.append(torch.autograd.grad(made.float().square().sum(), layer.weight)[0].float())
    assert (gradients[1] - gradients[0]).norm() < 0.03 * gradients[0].norm() + 0.05 * gradients[0].abs().max()


def test_an_impulse_lands_where_flax_puts_it() -> None:
    """Stride 2 on an even size: nothing before, one zero after."""
    layer = StandardizedConv(SAME, 1, 1, side=3, stride=2)
    torch.nn.init.normal_(layer.weight)
    values = torch.randn(1, 1, 4, 4)
    expected = F.conv2d(F.pad(values, (0, 1, 0, 1)), layer.kernel(), stride=2)
    torch.testing.assert_close(layer(values), expected)


def test_zeros_beside_the_map_win_over_negative_numbers_only_in_the_centered_style() -> None:
    values = -torch.ones(1, 2, 4, 4)
    assert torch.equal(max_pool(CENTERED, values)[0, 0], torch.tensor([[0.0, 0.0], [0.0, -1.0]]))
    assert torch.equal(max_pool(SAME, values), -torch.ones(1, 2, 2, 2))


@pytest.mark.parametrize(("channels", "groups"), [(64, 32), (32, 32), (16, 16), (24, 8), (2048, 32)])
def test_groups(channels: int, groups: int) -> None:
    assert group_norm(CENTERED, channels).num_groups == groups
    assert group_norm(CENTERED, channels).eps == 1e-5


@pytest.mark.parametrize(("width", "channels"), [(1.0, 64), (0.5, 32), (0.125, 8), (3.0, 192), (1.5, 96)])
def test_widths(width: float, channels: int) -> None:
    assert root_channels(width) == channels


@pytest.mark.parametrize(("width", "said"), [(0.3, "0.25 or 0.375"), (0.1, "use 0.125 or 0.25"), (1.01, "use 1 or")])
def test_a_width_without_groups_names_its_neighbors(width: float, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        root_channels(width)


def test_units_follow_each_other() -> None:
    """What one gives, the next takes; stages double the width and halve the map, but the first does not."""
    sizes = list(unit_sizes(16, (2, 1, 3)))
    assert [size[:2] for size in sizes] == [(0, 0), (0, 1), (1, 0), (2, 0), (2, 1), (2, 2)]
    assert [size.stride for size in sizes] == [1, 1, 2, 2, 1, 1]
    assert [size.middle for size in sizes] == [16, 16, 32, 64, 64, 64]
    assert [size.inputs for size in sizes] == [16, *(size.outputs for size in sizes[:-1])]
    assert sizes[-1].outputs == map_channels(16, 3) == 256
    assert not list(unit_sizes(16, ()))


@pytest.mark.parametrize(("stages", "channels", "stride"), [(0, 64, 4), (1, 256, 4), (3, 1024, 16), (4, 2048, 32)])
def test_the_feature_map_of_a_resnet(stages: int, channels: int, stride: int) -> None:
    assert (map_channels(64, stages), map_stride(stages)) == (channels, stride)


def test_an_image_that_leaves_one_number_to_a_norm_is_refused() -> None:
    with pytest.raises(ValueError, match="use at least 9 pixels a side"):
        check_size((8, 8), 0.25, 4)
    for size, width, stages in (((9, 9), 0.25, 4), ((8, 8), 1.0, 4), ((8, 8), 0.25, 1), ((1, 1), 2.0, 4)):
        check_size(size, width, stages)
    assert group_norm(CENTERED, 32)(torch.randn(2, 32, 1, 1)).abs().max() < 1e-3  # what is refused, and why
