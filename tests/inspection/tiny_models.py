"""A model small enough to work out by hand: 12 by 8 pixels in patches of 4, width 16, 2 heads."""

from __future__ import annotations

import torch

from vitrail.bundle import Bundle
from vitrail.models import ViT, create


def tiny(**overrides: object) -> ViT:
    torch.manual_seed(0)
    settings = {"image_size": (12, 8), "width": 16, "depth": 3, "heads": 2, "mlp": 32} | overrides
    return create("mu/4", classes=3, **settings).eval()  # type: ignore[arg-type]


def pictures(count: int = 2, size: tuple[int, int] = (12, 8)) -> torch.Tensor:
    drawn = torch.Generator().manual_seed(1)
    return torch.randint(0, 256, (count, 3, *size), dtype=torch.uint8, generator=drawn)


def without_keys(bundle: Bundle) -> Bundle:
    """Queries and keys of zero: every token attends to all of them alike."""
    with torch.no_grad():
        for block in bundle.model.encoder.blocks:  # type: ignore[union-attr]
            qkv = block.attention.qkv  # type: ignore[union-attr]
            qkv.weight[:32].zero_()  # type: ignore[index, union-attr, operator]
            qkv.bias[:32].zero_()  # type: ignore[index, union-attr, operator]
    return bundle
