"""What a model sees, as pictures: its features reduced to three colors, and how alike they are within a picture."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from jaxtyping import Float, UInt8
from torch import Tensor

from vitrail.vocabulary import RawImages, Shown

COLORS = 3


def feature_pictures(raw: RawImages, features: Float[Tensor, "batch width rows columns"]) -> list[Shown]:
    """For each image: itself; its features' first three principal components over all the images, as red, green and
    blue; and the cosine of each place with the middle one, white where they are alike."""
    size = (raw.shape[-2], raw.shape[-1])
    colors = enlarged(principal_colors(features), size)
    alike = enlarged(likeness(features)[:, None].expand(-1, COLORS, -1, -1), size)
    return [Shown(*one) for one in zip(raw, colors, alike, strict=True)]


def principal_colors(features: Float[Tensor, "batch width rows columns"]) -> Float[Tensor, "batch 3 rows columns"]:
    """From 0 to 1, over all the images, so that a color means the same in each. Each component points where its
    largest number is positive, since its sign is chance."""
    places = features.double().permute(0, 2, 3, 1)
    flat = places.reshape(-1, places.shape[-1])
    flat = flat - flat.mean(0)
    directions = torch.linalg.svd(flat, full_matrices=False).Vh[:COLORS]
    largest = directions.gather(1, directions.abs().argmax(1, keepdim=True))
    found = flat @ (directions * largest.sign()).T
    found = F.pad(found, (0, COLORS - found.shape[1]))
    low, high = found.min(0).values, found.max(0).values
    shares = (found - low) / (high - low).clamp(min=1e-12)
    return shares.unflatten(0, places.shape[:3]).permute(0, 3, 1, 2).float()


def likeness(features: Float[Tensor, "batch width rows columns"]) -> Float[Tensor, "batch rows columns"]:
    """Cosines with the place in the middle, of features without the mean over all; 0 where they are opposite or at a
    right angle."""
    centered = features - features.mean((0, 2, 3), keepdim=True)
    middle = centered[:, :, centered.shape[2] // 2, centered.shape[3] // 2]
    return F.cosine_similarity(centered, middle[:, :, None, None], dim=1).clamp(0, 1)


def enlarged(shares: Float[Tensor, "batch 3 rows columns"],
             size: tuple[int, int]) -> UInt8[Tensor, "batch 3 height width_px"]:
    return F.interpolate((255 * shares).round(), size, mode="nearest").to(torch.uint8)
