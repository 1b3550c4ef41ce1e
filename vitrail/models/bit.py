"""BiT, the ResNet that the paper compares itself with (1912.11370): pre-activation, group norm, standardized kernels.

    R50x1   units per stage of a ResNet-50, 1 x the width      R26x0.25   a small one for small pictures
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any, Literal

import torch.nn.functional as F
from jaxtyping import Float
from pydantic import BaseModel, ConfigDict, Field, PositiveInt, model_validator
from torch import Tensor, nn

from vitrail.models.convolution import (
    Standardize,
    StandardizedConv,
    Style,
    UnitSize,
    check_size,
    group_norm,
    halved,
    map_channels,
    map_stride,
    max_pool,
    root_channels,
    stages,
)
from vitrail.models.vit.config import Sides
from vitrail.vocabulary import Grid, Images, Size

DEPTHS: dict[str, tuple[int, int, int, int]] = {
    "26": (2, 2, 2, 2), "50": (3, 4, 6, 3), "101": (3, 4, 23, 3), "152": (3, 8, 36, 3), "200": (3, 24, 36, 3),
}
"""Units per stage, three convolutions each. 26: 2106.10270; 200: 1603.05027; the others: 1512.03385."""

KNOWN_NAMES = ["R26x1", "R50x1", "R50x2", "R50x3", "R101x1", "R101x3", "R152x1", "R152x2", "R152x4", "R200x3"]
NAME = re.compile(rf"R(?P<layers>{'|'.join(DEPTHS)})x(?P<width>[0-9]{{1,3}}(?:\.[0-9]{{1,6}})?)")


Inner = Callable[["BiTConfig", UnitSize], nn.Module]
"""What stands in the middle of a unit."""


class BiTConfig(BaseModel):
    """A BiT ResNet-v2. Sizes are (height, width) in pixels."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    family: Literal["bit"] = "bit"
    name: str = "custom"
    image_size: Sides = (224, 224)
    channels: PositiveInt = 3
    classes: int = Field(1000, ge=0, description="0: no head; the model returns its embedding")
    depths: tuple[PositiveInt, ...] = Field(min_length=1, max_length=6, description="units of each stage")
    width: float = Field(1.0, gt=0, le=64, description="factor of the published widths, 64 channels at the root")
    head_bias: float = Field(0.0, description="what the head's bias starts from (-10 for sigmoid losses)")

    norm_eps: float = Field(1e-5, gt=0)
    standardize: Standardize = Field("variance", description="what standardize_eps is added to")
    standardize_eps: float = Field(1e-10, gt=0)

    @model_validator(mode="after")
    def _fits_together(self) -> BiTConfig:
        check_size(self.image_size, self.width, len(self.depths))
        return self

    @property
    def style(self) -> Style:
        return Style("centered", self.norm_eps, self.standardize, self.standardize_eps)

    @property
    def root(self) -> int:
        """Channels of the first layer."""
        return root_channels(self.width)

    @property
    def embedding(self) -> int:
        """Numbers in what `embed` returns: the channels of the last stage."""
        return map_channels(self.root, len(self.depths))

    @property
    def grid(self) -> Grid:
        """Rows and columns of the feature map."""
        return self.map_size(len(self.depths) - 1)

    def map_size(self, stage: int) -> Size:
        """Rows and columns of the maps that a stage gives, counted from 0."""
        stride = map_stride(stage + 1)
        return halved(self.image_size[0], stride), halved(self.image_size[1], stride)

    @property
    def layers(self) -> int:
        """Parts that repeat."""
        return sum(self.depths)

    def at_size(self, image_size: Size) -> BiTConfig:
        return type(self).model_validate(self.model_dump() | {"image_size": image_size})


def recognize(name: str) -> dict[str, Any] | None:
    """The fields that `R50x1` or `R26x0.25` stands for, or None for the name of another family."""
    match = NAME.fullmatch(name)
    return match and {"depths": DEPTHS[match["layers"]], "width": float(match["width"])}


class BiT(nn.Module):
    """image -> root -> stages -> norm -> mean -> logits"""

    def __init__(self, config: BiTConfig, inner: Inner | None = None) -> None:
        """`inner`: what stands in the middle of each unit; a 3x3 convolution without."""
        super().__init__()
        self.config = config
        self.root = StandardizedConv(config.style, config.channels, config.root, side=7, stride=2)
        self.stages = stages(config.root, config.depths,
                             lambda size: Unit(config.style, size, (inner or convolution)(config, size)))
        self.norm = group_norm(config.style, config.embedding)
        self.head = nn.Linear(config.embedding, config.classes) if config.classes else nn.Identity()
        if not next(self.parameters()).is_meta:  # else: nothing to draw into, and a second of imports
            self.initialize()

    def forward(self, images: Images) -> Float[Tensor, "batch classes"]:
        return self.head(self.embed(images))

    def embed(self, images: Images) -> Float[Tensor, "batch embedding"]:
        """The vector before the linear head."""
        return self.feature_map(images).mean(dim=(2, 3))

    def feature_map(self, images: Images) -> Float[Tensor, "batch width rows columns"]:
        """The last stage after its norm, on its grid."""
        return F.relu(self.norm(self.stages(max_pool(self.config.style, self.root(images)))))

    def initialize(self) -> None:
        """Every convolution draws its own weights, the head starts from zero; norms start as the identity."""
        for part in self.modules():
            if isinstance(part, StandardizedConv):
                part.initialize()
        if isinstance(self.head, nn.Linear):
            nn.init.zeros_(self.head.weight)
            nn.init.constant_(self.head.bias, self.config.head_bias)


def convolution(config: BiTConfig, size: UnitSize) -> nn.Module:
    return StandardizedConv(config.style, size.middle, size.middle, side=3, stride=size.stride)


class Unit(nn.Module):
    """1x1, 3x3 and 1x1 convolutions, each after norm and ReLU, beside a shortcut (v2: pre-activation). `inner` is the
    3x3 one or what replaces it, with the unit's stride."""

    def __init__(self, style: Style, size: UnitSize, inner: nn.Module) -> None:
        super().__init__()
        _, number, inputs, middle, stride = size
        self.norm1 = group_norm(style, inputs)
        self.conv1 = StandardizedConv(style, inputs, middle, side=1)
        self.norm2 = group_norm(style, middle)
        self.conv2 = inner
        self.norm3 = group_norm(style, middle)
        self.conv3 = StandardizedConv(style, middle, size.outputs, side=1)
        self.projection = StandardizedConv(style, inputs, size.outputs, side=1, stride=stride) if number == 0 else None

    def forward(self, values: Float[Tensor, "batch inputs rows columns"]) -> Float[Tensor, "batch outputs _ _"]:
        ready = F.relu(self.norm1(values))
        shortcut = values if self.projection is None else self.projection(ready)
        inner = self.conv2(F.relu(self.norm2(self.conv1(ready))))
        return shortcut + self.conv3(F.relu(self.norm3(inner)))
