"""image -> patches -> tokens -> encoder -> head: every model of the paper, by name."""

from __future__ import annotations

from typing import Any

from vitrail.models.accounting import Accounting, describe
from vitrail.models.axial import AxialViT, AxialViTConfig
from vitrail.models.axial_resnet import AxialResNet, AxialResNetConfig
from vitrail.models.bit import BiT, BiTConfig
from vitrail.models.families import FAMILIES, AnyConfig, Family, Model, ModelConfig, build
from vitrail.models.hybrid import Hybrid, HybridConfig
from vitrail.models.names import configure, family_of
from vitrail.models.vit.config import ViTConfig
from vitrail.models.vit.vit import ViT

__all__ = ["FAMILIES", "Accounting", "AnyConfig", "AxialResNet", "AxialResNetConfig", "AxialViT", "AxialViTConfig",
           "BiT", "BiTConfig", "Family", "Hybrid", "HybridConfig", "Model", "ModelConfig", "ViT", "ViTConfig", "build",
           "configure", "create", "describe", "family_of"]


def create(name: str, *, classes: int = 1000, image_size: int | tuple[int, int] = 224, **overrides: Any) -> Model:
    """An untrained model by its name in the literature: `create("B/16", classes=10, image_size=(224, 160))`.

    `overrides` are fields of the family's config (ViTConfig, BiTConfig, HybridConfig, ...). Raises UnknownNameError
    or UsageError, both naming what is allowed.
    """
    return build(configure(name, classes=classes, image_size=image_size, **overrides))
