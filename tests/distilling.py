"""A small objective that learns from several crops, and batches of noise for it."""

from __future__ import annotations

from typing import Any

import torch

from vitrail.data.preprocess import Preprocess
from vitrail.models import create
from vitrail.objectives import Dino, DinoSettings
from vitrail.vocabulary import Batch

SMALL = {"prototypes": 24, "hidden": 32, "bottleneck": 16}


def dino(model: str = "mu/4", size: int = 16, local: int = 3, local_size: int = 8, fields: dict[str, Any] | None = None,
         **settings: Any) -> Dino:
    torch.manual_seed(0)
    made = create(model, classes=0, image_size=size, **fields or {})
    chosen = DinoSettings.model_validate({**SMALL, **settings})
    return Dino(made, Preprocess(size=size).normalize, chosen, 0, local=local, local_size=(local_size, local_size))


def batch_of(count: int = 8, size: int = 16, local: int = 3, local_size: int = 8, first: int = 0) -> Batch:
    random = torch.Generator().manual_seed(first)
    views = {"global": torch.randint(0, 256, (count, 2, 3, size, size), dtype=torch.uint8, generator=random)}
    if local:
        views["local"] = torch.randint(0, 256, (count, local, 3, local_size, local_size), dtype=torch.uint8,
                                       generator=random)
    places = torch.arange(first, first + count)
    return Batch(views, torch.zeros(count, dtype=torch.int64), places, places)
