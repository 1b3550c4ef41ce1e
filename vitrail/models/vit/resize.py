"""Learned position tables at another image size: interpolation by location (paper, section 3.2)."""

from __future__ import annotations

from typing import Any

import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from vitrail.models.vit.config import Resampling
from vitrail.vocabulary import Grid

RULES: dict[Resampling, dict[str, Any]] = {
    "bilinear-corners": {"mode": "bilinear", "align_corners": True},  # the official `scipy.ndimage.zoom`, order 1
    "bilinear": {"mode": "bilinear", "align_corners": False},  # BEiT
    "bilinear-antialias": {"mode": "bilinear", "align_corners": False, "antialias": True},  # SigLIP 2
    "bicubic": {"mode": "bicubic", "align_corners": False},  # transformers
    "bicubic-antialias": {"mode": "bicubic", "align_corners": False, "antialias": True},  # timm
}


def resize_table(
    table: Float[Tensor, "rows columns width"], grid: Grid, rule: Resampling = "bilinear-corners"
) -> Float[Tensor, "new_rows new_columns width"]:
    """By the rule of the code that the weights come from, so that its numbers are met."""
    if table.shape[:2] == grid:
        return table
    values = table.permute(2, 0, 1).unsqueeze(0).float()
    resized = F.interpolate(values, size=grid, **RULES[rule])
    return resized[0].permute(1, 2, 0).to(table.dtype)


def resize_line(
    table: Float[Tensor, "places width"], places: int, rule: Resampling = "bilinear-corners"
) -> Float[Tensor, "new_places width"]:
    """The same along one axis."""
    return resize_table(table.unsqueeze(0), (1, places), rule)[0]
