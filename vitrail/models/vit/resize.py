"""Learned position tables at another image size: interpolation by location (paper, section 3.2)."""

from __future__ import annotations

import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from vitrail.vocabulary import Grid


def resize_table(table: Float[Tensor, "rows columns width"], grid: Grid) -> Float[Tensor, "new_rows new_columns width"]:
    """Bilinear with aligned corners, as the official code resamples (`scipy.ndimage.zoom`, order 1)."""
    if table.shape[:2] == grid:
        return table
    values = table.permute(2, 0, 1).unsqueeze(0).float()
    resized = F.interpolate(values, size=grid, mode="bilinear", align_corners=True)
    return resized[0].permute(1, 2, 0).to(table.dtype)


def resize_line(table: Float[Tensor, "places width"], places: int) -> Float[Tensor, "new_places width"]:
    """The same along one axis."""
    return resize_table(table.unsqueeze(0), (1, places))[0]
