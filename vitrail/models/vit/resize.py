"""Weights at another image or patch size: position tables by location (paper, section 3.2), kernels of patches."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from vitrail.models.vit.config import Resampling
from vitrail.vocabulary import Grid, Size

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
    if table.shape[1] == grid[1] == 1:  # torch 2.13 gives wrong numbers for one column with antialiasing
        return resize_table(table.transpose(0, 1), (1, grid[0]), rule).transpose(0, 1)
    values = table.permute(2, 0, 1).unsqueeze(0).float()
    resized = F.interpolate(values, size=grid, **RULES[rule])
    return resized[0].permute(1, 2, 0).to(table.dtype)


def resize_line(
    table: Float[Tensor, "places width"], places: int, rule: Resampling = "bilinear-corners"
) -> Float[Tensor, "new_places width"]:
    """The same along one axis."""
    return resize_table(table.unsqueeze(0), (1, places), rule)[0]


def resize_kernel(
    kernel: Float[Tensor, "width channels height width_px"], patch: Size
) -> Float[Tensor, "width channels new_height new_width_px"]:
    """FlexiViT's pseudo-inverse (2212.08013): with a patch resized bilinearly it gives what `kernel` gives with the
    patch itself. Exactly, where patches grow; where they shrink, as nearly as fewer pixels can tell.

    Resizing a kernel as if it were a picture would not do: a patch of more pixels has a larger sum."""
    if kernel.shape[-2:] == patch:
        return kernel
    rows, columns = (torch.linalg.pinv(resizing(old, new).T) for old, new in zip(kernel.shape[-2:], patch, strict=True))
    return (rows @ kernel.cpu().double() @ columns.T).to(kernel)


def resizing(old: int, new: int) -> Float[Tensor, "new old"]:
    """The matrix that resizes a line of `old` pixels to `new` ones, bilinearly, with antialiasing where they become
    fewer (as `jax.image.resize`, which FlexiViT calls)."""
    lines = torch.eye(old, dtype=torch.float64)[None, None]
    return F.interpolate(lines, size=(old, new), mode="bilinear", align_corners=False, antialias=True)[0, 0].T
