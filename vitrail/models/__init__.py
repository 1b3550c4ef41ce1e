"""image -> patches -> tokens -> encoder -> head: every model of the paper, by name."""

from __future__ import annotations

from typing import Any

from vitrail.models.accounting import Accounting, describe
from vitrail.models.vit.config import ViTConfig
from vitrail.models.vit.variants import configure
from vitrail.models.vit.vit import ViT

__all__ = ["Accounting", "ViT", "ViTConfig", "build", "configure", "create", "describe"]


def create(name: str, *, classes: int = 1000, image_size: int | tuple[int, int] = 224, **overrides: Any) -> ViT:
    """An untrained model by its name in the literature: `create("B/16", classes=10, image_size=(224, 160))`.

    `overrides` are fields of `ViTConfig`. Raises UnknownNameError or UsageError, both naming what is allowed.
    """
    return build(configure(name, classes=classes, image_size=image_size, **overrides))


def build(config: ViTConfig) -> ViT:
    """The model that `config` describes, initialized as the paper's code does."""
    return ViT(config)
