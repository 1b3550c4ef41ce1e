"""What attention costs an AxialResNet, from its configuration alone."""

from __future__ import annotations

from typing import NamedTuple

from vitrail.models.axial_resnet import AxialResNetConfig
from vitrail.vocabulary import Size


class AxialPair(NamedTuple):
    """Attention along the rows of a map, then along its columns. `size`: of the map. `times`: how many alike there
    are."""

    channels: int
    heads: int
    size: Size
    stride: int
    times: int

    @property
    def cells(self) -> int:
        return self.size[0] * self.size[1]

    @property
    def parameters(self) -> int:
        """Queries and keys are half as wide as values; each of the three has a table of offsets along each axis."""
        offsets = 2 * sum(self.size) - 2
        return self.times * (4 * self.channels**2 + 8 * self.channels + offsets * 2 * self.channels // self.heads)

    @property
    def macs(self) -> int:
        """What makes queries, keys and values; q k, q r and k r', half as wide as the weights times v and times r''."""
        return self.times * self.cells * (4 * self.channels**2 + sum(self.size) * 7 * self.channels // 2)

    @property
    def kept(self) -> int:
        """Numbers that autograd keeps, but for the input of the first: for both, queries, keys and values before and
        after their norm, the scaled queries and the weights; the input of the second; that of the pool."""
        widths = 9 + 1 + (self.stride > 1)
        return self.times * self.cells * (widths * self.channels + self.heads * sum(self.size))


def axial_pairs(config: AxialResNetConfig) -> list[AxialPair]:
    """Of each stage, that of the unit which halves the map, and those of the others together."""
    return [AxialPair(channels, config.heads, size, stride, times)
            for number, units in enumerate(config.depths)
            for stride, times in ((1 if number == 0 else 2, 1), (1, units - 1))
            for channels, size in (config.at(number, stride),)]
