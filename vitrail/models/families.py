"""The families of models: one protocol (`forward`, `embed`, `feature_map`, `config`), one config and class each."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Annotated, Any, Literal, TypeAlias

import torch
from pydantic import Field
from torch import Tensor

from vitrail.models.axial import AxialViT, AxialViTConfig
from vitrail.models.axial_resnet import AxialResNet, AxialResNetConfig
from vitrail.models.bit import BiT, BiTConfig
from vitrail.models.hybrid import Hybrid, HybridConfig
from vitrail.models.vit.config import ViTConfig
from vitrail.models.vit.vit import ViT

Family = Literal["vit", "bit", "hybrid", "axial-vit", "axial-resnet"]

Model: TypeAlias = ViT | BiT
"""A hybrid is a ViT with other patches; the axial models are a ViT and a BiT with other attention."""

ModelConfig: TypeAlias = ViTConfig | BiTConfig | HybridConfig | AxialViTConfig | AxialResNetConfig

AnyConfig: TypeAlias = Annotated[ModelConfig, Field(discriminator="family")]
"""A config inside another pydantic value: `family` says which."""

FAMILIES: dict[Family, Callable[[Any], Model]] = {
    "vit": ViT, "bit": BiT, "hybrid": Hybrid, "axial-vit": AxialViT, "axial-resnet": AxialResNet}


def build(config: ModelConfig) -> Model:
    """The model that `config` describes, initialized as the paper's code does."""
    return FAMILIES[config.family](config)


def build_with(config: ModelConfig, weights: Mapping[str, Tensor]) -> Model:
    """The model that `config` describes with these tensors as its parameters; no other memory is taken. They are made
    dense where they are views, which would compute slower. Raises RuntimeError where names or shapes do not fit."""
    with torch.device("meta"):
        model = build(config)
    model.load_state_dict({name: value.contiguous() for name, value in weights.items()}, assign=True)
    return model
