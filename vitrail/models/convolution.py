"""Convolutions whose kernels are standardized before every use (1903.10520), and the group norms beside them.

The two public ResNets of the paper differ in details that a `Style` holds: where padding lies and where epsilons stand.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from itertools import groupby
from typing import Literal, NamedTuple

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from vitrail.models.vit.patches import lecun_normal_
from vitrail.vocabulary import Size

Padding = Literal["centered", "same"]
Standardize = Literal["variance", "deviation"]

ROOT_CHANNELS = 64
EXPANSION = 4
GROUPS = 32


class Style(NamedTuple):
    """`padding`: the same before and after ("centered"), or Flax's "same", which puts an odd rest after.
    `standardize`: what `standardize_eps` is added to, the kernel's variance or its standard deviation."""

    padding: Padding
    norm_eps: float
    standardize: Standardize
    standardize_eps: float


class UnitSize(NamedTuple):
    """One unit of three convolutions: 1x1 from `inputs` to `middle` channels, 3x3 with the stride, 1x1 to `outputs`."""

    stage: int
    number: int
    """Of the unit in its stage, from 0."""
    inputs: int
    middle: int
    stride: int

    @property
    def outputs(self) -> int:
        return EXPANSION * self.middle


class StandardizedConv(nn.Module):
    """A square convolution without bias; each output's kernel has mean 0 and variance 1 when it is used."""

    def __init__(self, style: Style, inputs: int, outputs: int, side: int, stride: int = 1) -> None:
        super().__init__()
        self.style, self.side, self.stride = style, side, stride
        self.weight = nn.Parameter(torch.empty(outputs, inputs, side, side))

    def initialize(self) -> None:
        """As Flax draws a convolution by default. Its scale does not change what is computed, only how it learns."""
        lecun_normal_(self.weight, fan_in=self.weight[0].numel())

    def kernel(self) -> Float[Tensor, "outputs inputs side side"]:
        """The weight as it is used. Computed in fp32 at least: in bf16 a mean is too coarse to take away."""
        weight = self.weight.to(torch.promote_types(self.weight.dtype, torch.float32))
        variance, mean = torch.var_mean(weight, dim=(1, 2, 3), correction=0, keepdim=True)
        eps = self.style.standardize_eps
        divisor = (variance + eps).sqrt() if self.style.standardize == "variance" else variance.sqrt() + eps
        return ((weight - mean) / divisor).to(self.weight.dtype)

    def forward(
        self, values: Float[Tensor, "batch inputs rows columns"]
    ) -> Float[Tensor, "batch outputs new_rows new_columns"]:
        # One position stays one whatever the stride; with a stride of 2, torch 2.13 on a CPU fills the bf16 gradient of
        # the kernel's outer columns with whatever the memory held.
        strides = [self.stride if size > 1 else 1 for size in values.shape[-2:]]
        height, width = (padding_of(size, self.side, self.stride, self.style.padding) for size in values.shape[-2:])
        if height[0] == height[1] and width[0] == width[1]:
            return F.conv2d(values, self.kernel(), stride=strides, padding=(height[0], width[0]))
        return F.conv2d(F.pad(values, (*width, *height)), self.kernel(), stride=strides)


def padding_of(size: int, side: int, stride: int, padding: Padding) -> tuple[int, int]:
    """Zeros before and after one axis of `size`."""
    if padding == "centered":
        return side // 2, side // 2
    total = max((halved(size, stride) - 1) * stride + side - size, 0)
    return total // 2, total - total // 2


def halved(size: int, stride: int = 2) -> int:
    """What a strided layer leaves of one axis, by either padding."""
    return -(-size // stride)


def max_pool(style: Style, values: Float[Tensor, "batch width rows columns"]) -> Tensor:
    """3 x 3, stride 2. The centered style pads with zeros, which can win over negative numbers at the border; so do
    the released BiT weights expect it (big_transfer calls it "subtly not the same")."""
    height, width = (padding_of(size, 3, 2, style.padding) for size in values.shape[-2:])
    outside = 0.0 if style.padding == "centered" else -math.inf
    return F.max_pool2d(F.pad(values, (*width, *height), value=outside), kernel_size=3, stride=2)


def unit_sizes(root: int, depths: Sequence[int]) -> Iterator[UnitSize]:
    """Stage by stage. The first unit of a stage takes what the one before gives, and halves the map (but not in the
    first stage, which the pool has halved already)."""
    inputs = root
    for stage, units in enumerate(depths):
        for number in range(units):
            size = UnitSize(stage, number, inputs, root * 2**stage, stride=2 if stage and not number else 1)
            yield size
            inputs = size.outputs


def stages(root: int, depths: Sequence[int], unit: Callable[[UnitSize], nn.Module]) -> nn.Sequential:
    """A ResNet between its root and its head, the units of each stage together."""
    by_stage = groupby(unit_sizes(root, depths), key=lambda size: size.stage)
    return nn.Sequential(*(nn.Sequential(*map(unit, sizes)) for _, sizes in by_stage))


def map_channels(root: int, stages: int) -> int:
    """Channels of the feature map behind so many stages."""
    return EXPANSION * root * 2 ** (stages - 1) if stages else root


def map_stride(stages: int) -> int:
    """Pixels of the image to one position of that map, along one axis."""
    return 4 * 2 ** max(stages - 1, 0)


def group_norm(style: Style, channels: int) -> nn.GroupNorm:
    return nn.GroupNorm(groups_of(channels), channels, eps=style.norm_eps)


def groups_of(channels: int) -> int:
    """32 groups as in the paper; narrower layers than any published one have as many as divide them."""
    return math.gcd(GROUPS, channels)


def root_channels(width: float) -> int:
    """Channels of the root at a width factor. Raises ValueError where they do not fall into groups."""
    channels = ROOT_CHANNELS * width
    if channels < 8 or channels % 8:
        lower = max(math.floor(8 * width), 1) / 8
        raise ValueError(f"width {width:g} makes {channels:g} channels at the root, which is no multiple of 8; "
                         f"use {lower:g} or {lower + 1 / 8:g}")
    return int(channels)


def check_size(image_size: Size, width: float, stages: int) -> None:
    """Raises ValueError where a group norm would see a single number, of which it makes zero, and for a width whose
    channels do not fall into groups."""
    if smallest_group(image_size, width, stages) > 1:
        return
    side = min(image_size)
    while smallest_group((side, side), width, stages) == 1:
        side += 1
    raise ValueError(f"an image of {image_size[0]}x{image_size[1]} pixels leaves one number for a group norm to "
                     f"normalize; use at least {side} pixels a side, or a larger width than {width:g}")


def smallest_group(image_size: Size, width: float, stages: int) -> int:
    """Numbers in the smallest group of any norm: those of the root and of the narrow middle of each stage."""
    channels = root_channels(width)
    cells = [math.prod(halved(side, 2) for side in image_size)] + [
        math.prod(halved(side, map_stride(stage + 1)) for side in image_size) for stage in range(stages)]
    widths = [channels, *(channels * 2**stage for stage in range(stages))]
    return min(cell * each // groups_of(each) for cell, each in zip(cells, widths, strict=True))
