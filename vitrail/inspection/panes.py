"""An image as a grid of panes, of which explanations speak and which can be covered: the patches of a transformer, or
windows of 1/14 of the side for a ResNet, which has none."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor

from vitrail.errors import UsageError
from vitrail.models import Model, ViT
from vitrail.vocabulary import Grid, RawImages

WINDOWS = 14
"""Along each side of an image that has no patches."""

Edges = tuple[int, ...]


@dataclass(frozen=True)
class Panes:
    """Where panes begin and end, in pixels: `down` from the top to the height, `across` from the left to the width."""

    down: Edges
    across: Edges

    @property
    def grid(self) -> Grid:
        """Rows and columns of panes."""
        return len(self.down) - 1, len(self.across) - 1

    @property
    def count(self) -> int:
        return self.grid[0] * self.grid[1]

    def coarser(self, most: int) -> Panes:
        """The smallest squares of k by k of these panes of which there are at most `most`."""
        rows, columns = self.grid
        step = next(step for step in range(1, max(rows, columns) + 1)
                    if -(-rows // step) * -(-columns // step) <= max(most, 1))
        return Panes((*self.down[:-1:step], self.down[-1]), (*self.across[:-1:step], self.across[-1]))

    def pixels(self, chosen: Bool[Tensor, "*batch panes"]) -> Bool[Tensor, "*batch height width_px"]:
        """The pixels of the chosen panes; panes are counted in reading order."""
        heights, widths = (torch.tensor(np.diff(edges), device=chosen.device) for edges in (self.down, self.across))
        return chosen.unflatten(-1, self.grid).repeat_interleave(heights, -2).repeat_interleave(widths, -1)

    def sums(self, map: Float[np.ndarray, "*batch height width_px"]) -> Float[np.ndarray, "*batch rows columns"]:
        """The sum over each pane."""
        within_rows: np.ndarray = np.add.reduceat(map, self.down[:-1], axis=-2)
        return np.add.reduceat(within_rows, self.across[:-1], axis=-1)

    def spread_over(
        self, finer: Panes, map: Float[np.ndarray, "*batch rows columns"]
    ) -> Float[np.ndarray, "*batch more_rows more_columns"]:
        """The same map on panes that these are made of."""
        rows, columns = (np.searchsorted(mine, theirs[:-1], side="right") - 1 for mine, theirs in
                         ((self.down, finer.down), (self.across, finer.across)))
        return map[..., rows[:, None], columns]


def panes_of(model: Model, raw: RawImages) -> Panes:
    """The patches of these images, or windows. Raises UsageError for images that the model cannot take."""
    check_images(model, raw)
    sides = raw.shape[-2:]
    if isinstance(model, ViT):
        down, across = (tuple(range(0, side + 1, step)) for side, step in zip(sides, model.config.patch, strict=True))
    else:
        down, across = (tuple(np.linspace(0, side, min(side, WINDOWS) + 1).round().astype(int).tolist())
                        for side in sides)
    return Panes(down, across)


def check_images(model: Model, raw: RawImages) -> None:
    """Raises UsageError for what is no batch of images, or for sides that are no multiple of the patch."""
    if raw.dtype != torch.uint8 or raw.dim() != 4 or raw.shape[1] != model.config.channels or 0 in raw.shape:
        raise UsageError(f"Images are uint8 [batch, {model.config.channels}, height, width], at least one, as "
                         f"bundle.preprocess makes them, not {str(raw.dtype).removeprefix('torch.')} "
                         f"{list(raw.shape)}.")
    if isinstance(model, ViT) and any(side % step for side, step in zip(raw.shape[-2:], model.config.patch,
                                                                       strict=True)):
        (height, width), (down, across) = raw.shape[-2:], model.config.patch
        wanted = "x".join(map(str, model.config.image_size))
        raise UsageError(f"Images of {height}x{width} pixels are not made of whole patches of {down}x{across}. Give "
                         f"them as bundle.preprocess makes them ({wanted}), or with sides that are multiples of the "
                         "patch.")
