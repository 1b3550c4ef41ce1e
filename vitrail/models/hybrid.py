"""The paper's hybrids (section 3.1): patches are cut from a ResNet's feature map, and a ViT reads them.

    R50+B/16   units 3, 4, 9: the last stage's layers stand in the third, one position of the map a patch
    R50+L/32   units 3, 4, 6, 3          R26+S/32   units 2, 2, 2, 2
    R+Ti/16    the root alone and patches of 8 x 8 of its map, which is 32 pixels: the published name counts only the
               first of the root's two halvings

The ResNet is the official code's: norm after each convolution, ReLU after each sum, padding as Flax's "SAME".
"""

from __future__ import annotations

import math
import re
from typing import Any, Literal

import torch.nn.functional as F
from jaxtyping import Float
from pydantic import Field, PositiveInt, model_validator
from torch import Tensor, nn

from vitrail.models.bit import DEPTHS
from vitrail.models.convolution import (
    Standardize,
    StandardizedConv,
    Style,
    UnitSize,
    check_size,
    group_norm,
    map_channels,
    map_stride,
    max_pool,
    root_channels,
    stages,
)
from vitrail.models.vit.config import ViTConfig
from vitrail.models.vit.patches import PatchEmbedding
from vitrail.models.vit.variants import SIZES
from vitrail.models.vit.vit import ViT
from vitrail.vocabulary import Images, Size, Tokens

KNOWN_NAMES = ["R+Ti/16", "R26+S/32", "R26+B/32", "R50+B/16", "R50+B/32", "R50+L/16", "R50+L/32"]
NAME = re.compile(rf"R(?:(?P<layers>{'|'.join(DEPTHS)})(?:x(?P<width>[0-9]{{1,3}}(?:\.[0-9]{{1,6}})?))?)?"
                  r"\+(?P<size>[A-Za-z0-9]+)/(?P<patch>[1-9][0-9]{0,5})")


class HybridConfig(ViTConfig):
    """A Vision Transformer behind a ResNet. `patch` is what one token stands for, in pixels."""

    family: Literal["hybrid"] = "hybrid"  # type: ignore[assignment]  # the one field by which the families differ
    stem_depths: tuple[PositiveInt, ...] = Field((), max_length=6, description="units of each stage; () for the root")
    stem_width: float = Field(1.0, gt=0, le=64, description="factor of the ResNet's published widths")
    stem_norm_eps: float = Field(1e-6, gt=0)
    stem_standardize: Standardize = Field("deviation", description="what stem_standardize_eps is added to")
    stem_standardize_eps: float = Field(1e-5, gt=0)

    @model_validator(mode="after")
    def _stem_fits(self) -> HybridConfig:
        check_size(self.image_size, self.stem_width, len(self.stem_depths))
        if self.patch[0] % self.stride or self.patch[1] % self.stride:
            raise ValueError(f"patch {self.patch[0]}x{self.patch[1]} is no multiple of {self.stride}, by which the "
                             "ResNet in front makes the image smaller; 4, 8, 16 and multiples of 32 fit a name")
        return self

    @property
    def stem_style(self) -> Style:
        return Style("same", self.stem_norm_eps, self.stem_standardize, self.stem_standardize_eps)

    @property
    def stem_root(self) -> int:
        """Channels of the first layer."""
        return root_channels(self.stem_width)

    @property
    def stem_channels(self) -> int:
        """Channels of the feature map."""
        return map_channels(self.stem_root, len(self.stem_depths))

    @property
    def stride(self) -> int:
        """Pixels of the image to one position of the feature map."""
        return map_stride(len(self.stem_depths))

    @property
    def layers(self) -> int:
        return self.depth + sum(self.stem_depths)

    @property
    def on_features(self) -> ViTConfig:
        """The ViT whose image is the feature map."""
        fields = {name: getattr(self, name) for name in ViTConfig.model_fields if name != "family"}
        size: Size = (self.image_size[0] // self.stride, self.image_size[1] // self.stride)
        return ViTConfig.model_validate(fields | {
            "image_size": size, "patch": (self.patch[0] // self.stride, self.patch[1] // self.stride),
            "channels": self.stem_channels})


def recognize(name: str) -> dict[str, Any] | None:
    """The fields that `R50+B/16` or `R50x1+B/16` stands for, or None for the name of another family."""
    match = NAME.fullmatch(name)
    if match is None or match["size"] not in SIZES:
        return None
    patch, depths = int(match["patch"]), DEPTHS.get(match["layers"] or "")
    if depths is None:
        return SIZES[match["size"]]._asdict() | {"patch": (2 * patch, 2 * patch), "stem_depths": ()}
    return SIZES[match["size"]]._asdict() | {
        "patch": (patch, patch), "stem_depths": merged(depths, patch), "stem_width": float(match["width"] or 1)}


def merged(depths: tuple[int, ...], patch: int) -> tuple[int, ...]:
    """As many stages as halve the image down to the patch; the layers of the others stand in the last of these."""
    stages = max(math.gcd(patch, 32).bit_length() - 2, 1)
    return *depths[: stages - 1], sum(depths[stages - 1 :])


class Hybrid(ViT):
    """image -> feature map -> patches -> tokens -> encoder -> pooled -> logits"""

    config: HybridConfig
    patchify: FeaturePatches

    def __init__(self, config: HybridConfig) -> None:
        super().__init__(config, FeaturePatches(config))


class FeaturePatches(nn.Module):
    """image -> feature map -> patches -> tokens"""

    def __init__(self, config: HybridConfig) -> None:
        super().__init__()
        self.stem = Stem(config)
        self.embedding = PatchEmbedding(config.on_features)

    def forward(self, images: Images) -> Tokens:
        return self.embedding(self.stem(images))


class Stem(nn.Module):
    """image -> root -> stages: a ResNet without its head"""

    def __init__(self, config: HybridConfig) -> None:
        super().__init__()
        self.style = config.stem_style
        self.root = StandardizedConv(self.style, config.channels, config.stem_root, side=7, stride=2)
        self.norm = group_norm(self.style, config.stem_root)
        self.stages = stages(config.stem_root, config.stem_depths, lambda size: Unit(self.style, size))

    def forward(self, images: Images) -> Float[Tensor, "batch width rows columns"]:
        return self.stages(max_pool(self.style, F.relu(self.norm(self.root(images)))))


class Unit(nn.Module):
    """1x1, 3x3 and 1x1 convolutions, each before its norm, beside a shortcut; ReLU after the sum (v1)."""

    def __init__(self, style: Style, size: UnitSize) -> None:
        super().__init__()
        _, number, inputs, middle, stride = size
        self.conv1 = StandardizedConv(style, inputs, middle, side=1)
        self.norm1 = group_norm(style, middle)
        self.conv2 = StandardizedConv(style, middle, middle, side=3, stride=stride)
        self.norm2 = group_norm(style, middle)
        self.conv3 = StandardizedConv(style, middle, size.outputs, side=1)
        self.norm3 = group_norm(style, size.outputs)
        first = number == 0
        self.projection = StandardizedConv(style, inputs, size.outputs, side=1, stride=stride) if first else None
        self.projection_norm = group_norm(style, size.outputs) if first else None

    def initialize(self) -> None:
        """A new unit does nothing: its last norm scales by zero, so that only the shortcut is there."""
        nn.init.zeros_(self.norm3.weight)

    def forward(self, values: Float[Tensor, "batch inputs rows columns"]) -> Float[Tensor, "batch outputs _ _"]:
        inner = F.relu(self.norm1(self.conv1(values)))
        inner = self.norm3(self.conv3(F.relu(self.norm2(self.conv2(inner)))))
        if self.projection is not None and self.projection_norm is not None:
            values = self.projection_norm(self.projection(values))
        return F.relu(values + inner)
