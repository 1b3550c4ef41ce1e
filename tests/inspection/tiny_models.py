"""A model small enough to work out by hand: 12 by 8 pixels in patches of 4, width 16, 2 heads."""

from __future__ import annotations

import torch

from vitrail.models import ViT, create


def tiny(**overrides: object) -> ViT:
    torch.manual_seed(0)
    settings = {"image_size": (12, 8), "width": 16, "depth": 3, "heads": 2, "mlp": 32} | overrides
    return create("mu/4", classes=3, **settings).eval()  # type: ignore[arg-type]
