"""What a ResNet costs, from its configuration alone. Both of the paper's have the same convolutions in other orders.

MACs count as the paper does: a kernel's tap that falls on padding is not counted (dense counting is 3 to 4 % higher),
nor are norms, pooling and the standardization of kernels.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal, NamedTuple

from vitrail.models.convolution import EXPANSION, Padding, halved, padding_of
from vitrail.vocabulary import Size

Role = Literal["root", "projection", "first", "middle", "last"]


class Convolution(NamedTuple):
    """`size`: of its input. `times`: how many alike there are."""

    role: Role
    inputs: int
    outputs: int
    side: int
    stride: int
    size: Size
    times: int = 1

    @property
    def new_size(self) -> Size:
        return halved(self.size[0], self.stride), halved(self.size[1], self.stride)

    @property
    def parameters(self) -> int:
        return self.times * self.inputs * self.outputs * self.side**2

    def macs(self, padding: Padding) -> int:
        taps = math.prod(taps_inside(size, self.side, self.stride, padding) for size in self.size)
        return self.times * self.inputs * self.outputs * taps

    def padded(self, padding: Padding) -> int:
        """Numbers in its input where a padded copy has to be made, else 0: uneven padding needs one."""
        both = [padding_of(size, self.side, self.stride, padding) for size in self.size]
        if all(before == after for before, after in both):
            return 0
        return self.inputs * math.prod(size + sum(pad) for size, pad in zip(self.size, both, strict=True))


def convolutions(channels: int, root: int, depths: Sequence[int], image_size: Size) -> list[Convolution]:
    """Root, then for each stage the unit that changes width and size, and the others together."""
    rows = [Convolution("root", channels, root, 7, 2, image_size)]
    size: Size = (halved(image_size[0], 4), halved(image_size[1], 4))
    width = root
    for number, units in enumerate(depths):
        middle, stride = root * 2**number, 1 if number == 0 else 2
        outputs, before = EXPANSION * middle, size
        size = halved(before[0], stride), halved(before[1], stride)
        rows += [
            Convolution("projection", width, outputs, 1, stride, before),
            Convolution("first", width, middle, 1, 1, before),
            Convolution("middle", middle, middle, 3, stride, before),
            Convolution("last", middle, outputs, 1, 1, size),
            Convolution("first", outputs, middle, 1, 1, size, units - 1),
            Convolution("middle", middle, middle, 3, 1, size, units - 1),
            Convolution("last", middle, outputs, 1, 1, size, units - 1),
        ]
        width = outputs
    return rows


def taps_inside(size: int, side: int, stride: int, padding: Padding) -> int:
    """How often a tap of the kernel meets a pixel along one axis, over all outputs."""
    before, _ = padding_of(size, side, stride, padding)
    outputs = halved(size, stride)
    edges = {*range(min(outputs, side)), *range(max(outputs - side, 0), outputs)}  # all others lie inside
    missed = sum(max(before - place * stride, 0) + max(place * stride - before + side - size, 0) for place in edges)
    return outputs * side - missed


def norms_before(rows: Sequence[Convolution]) -> int:
    """Channels of the norms that stand before the three convolutions of each unit (BiT)."""
    return sum(row.times * row.inputs for row in rows if row.role in ("first", "middle", "last"))


def norms_after(rows: Sequence[Convolution]) -> int:
    """Channels of the norms that stand after every convolution (hybrids)."""
    return sum(row.times * row.outputs for row in rows)


def kept_before(rows: Sequence[Convolution]) -> int:
    """Numbers that autograd keeps of a pre-activation ResNet up to its last sum: the image, the padded map before the
    pool; each norm's input and what leaves the ReLU behind it, which the convolutions (also the shortcut's) share."""
    root, *others = rows
    (height, width) = root.new_size
    kept = root.inputs * math.prod(root.size) + root.outputs * (height + 2) * (width + 2) + pool_places(root)
    return kept + 2 * sum(row.times * row.inputs * math.prod(row.size) for row in others if row.role != "projection")


def kept_after(rows: Sequence[Convolution]) -> int:
    """The same of a post-activation one: each convolution's output, kept for its norm, and what leaves each ReLU.
    Maps that need uneven padding are kept a second time, padded; the image is kept only so."""
    root, *others = rows
    out = root.outputs * math.prod(root.new_size)
    pool = Convolution("root", root.outputs, root.outputs, 3, 2, root.new_size)
    kept = (root.padded("same") or root.inputs * math.prod(root.size)) + 2 * out + pool_places(root)
    kept += pool.padded("same") or out
    for row in others:
        after_relu = row.inputs * math.prod(row.size) if row.role != "projection" else 0
        kept += row.times * (after_relu + row.padded("same") + row.outputs * math.prod(row.new_size))
    return kept


def pool_places(root: Convolution) -> int:
    """The pool keeps where each largest number was, in 8 bytes, which are four numbers."""
    return 4 * root.outputs * math.prod(halved(size, 2) for size in root.new_size)
