"""image -> patches -> tokens: the non-overlapping convolution of the paper."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor, nn

from vitrail.models.vit.config import ViTConfig
from vitrail.vocabulary import Grid, Images, Tokens


class PatchEmbedding(nn.Module):
    """Each patch of pixels becomes one token: [batch, channels, height, width_px] -> [batch, patches, width].

    The weight has a convolution's shape. `as_product` computes the same numbers as one matrix product over cut-out
    patches, which is faster where a convolution first reorders its input (CPU, bf16).
    """

    def __init__(self, config: ViTConfig) -> None:
        super().__init__()
        self.patch = config.patch
        self.as_product = True
        self.weight = nn.Parameter(torch.empty(config.width, config.channels, *config.patch))
        self.bias = nn.Parameter(torch.empty(config.width)) if config.patch_bias else None

    def initialize(self) -> None:
        """Truncated normal of variance 1 / fan-in, as Flax draws a convolution by default."""
        lecun_normal_(self.weight, fan_in=self.weight[0].numel())
        if self.bias is not None:
            nn.init.zeros_(self.bias)

    def grid(self, images: Images) -> Grid:
        return images.shape[-2] // self.patch[0], images.shape[-1] // self.patch[1]

    def forward(self, images: Images) -> Tokens:
        grid = self.grid(images)
        values = self.multiply(images, grid) if self.as_product else self.convolve(images)
        return Tokens(values, places_of(grid, images.device), grid)

    def multiply(self, images: Images, grid: Grid) -> Float[Tensor, "batch patches width"]:
        (rows, columns), (height, width) = grid, self.patch
        channels = images.shape[1]
        cut = images[..., : rows * height, : columns * width]
        cut = cut.reshape(-1, channels, rows, height, columns, width).permute(0, 2, 4, 1, 3, 5)
        return F.linear(cut.reshape(-1, rows * columns, channels * height * width), self.weight.flatten(1), self.bias)

    def convolve(self, images: Images) -> Float[Tensor, "batch patches width"]:
        return F.conv2d(images, self.weight, self.bias, stride=self.patch).flatten(2).transpose(1, 2)


def places_of(grid: Grid, device: torch.device) -> Int[Tensor, "patches 2"]:
    """(row, column) of each patch in reading order."""
    rows, columns = torch.arange(grid[0], device=device), torch.arange(grid[1], device=device)
    return torch.stack((rows.repeat_interleave(grid[1]), columns.repeat(grid[0])), dim=1)


def lecun_normal_(weight: Tensor, fan_in: int) -> None:
    """In place: normal of variance 1 / fan_in, cut at two standard deviations and rescaled for the cut."""
    std = math.sqrt(1.0 / fan_in) / 0.87962566103423978
    nn.init.trunc_normal_(weight, std=std, a=-2 * std, b=2 * std)
