"""Every way to tell tokens where they are (paper, appendix D.4 and later work), and where each acts."""

from __future__ import annotations

from collections.abc import Callable

from torch import nn

from vitrail.models.vit.config import PositionKind, ViTConfig
from vitrail.models.vit.positions.fixed import Rotary2D, SinCos2D
from vitrail.models.vit.positions.learned import Learned, Learned2D
from vitrail.models.vit.positions.position import Position
from vitrail.models.vit.positions.relative import Relative
from vitrail.models.vit.positions.relative_bias import RelativeBias

__all__ = ["POSITIONS", "Position", "Positions"]

POSITIONS: dict[PositionKind, Callable[[ViTConfig], Position]] = {
    "none": lambda config: Position(),
    "learned": Learned,
    "learned-2d": Learned2D,
    "sincos-2d": SinCos2D,
    "relative": Relative,
    "relative-bias": RelativeBias,
    "rotary-2d": Rotary2D,
}


class Positions(nn.Module):
    """The position embeddings of a model and the layers at which they act: `positions.at(layer)`."""

    def __init__(self, config: ViTConfig) -> None:
        super().__init__()
        self.placement = config.positions_at
        count = config.depth if self.placement == "every" else 1
        self.tables = nn.ModuleList(POSITIONS[config.positions](config) for _ in range(count))
        self.absent = Position()

    def at(self, layer: int) -> Position:
        """What acts at one layer; layer 0 is the stem, before the first block."""
        if self.placement == "stem" and layer > 0:
            return self.absent
        return self.tables[layer if self.placement == "every" else 0]  # type: ignore[return-value]

    def initialize(self) -> None:
        for table in self.tables:
            table.initialize()  # type: ignore[operator]
