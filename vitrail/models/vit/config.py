"""Everything that decides a Vision Transformer, as one frozen value. A field stands here once and nowhere else."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, PositiveInt, model_validator

from vitrail.models.vit.variants import with_patch
from vitrail.vocabulary import Grid, Size

PositionKind = Literal["none", "learned", "learned-2d", "sincos-2d", "relative", "relative-bias", "rotary-2d"]
Placement = Literal["stem", "every", "shared"]
Pooling = Literal["token", "mean", "attention", "token+mean", "distilled"]
FeedForwardKind = Literal["gelu-tanh", "gelu", "gelu-quick", "swiglu"]
RotaryUnit = Literal["patch", "grid"]
Resampling = Literal["bilinear-corners", "bilinear", "bilinear-antialias", "bicubic", "bicubic-antialias"]

PLACEMENTS: dict[PositionKind, tuple[Placement, ...]] = {
    "none": ("stem",),
    "learned": ("stem", "every", "shared"),
    "learned-2d": ("stem", "every", "shared"),
    "sincos-2d": ("stem", "shared"),  # fixed numbers: every layer has the same ones in any case
    "relative": ("every", "shared"),  # acts on attention scores, so never at the stem
    "relative-bias": ("every", "shared"),
    "rotary-2d": ("shared",),  # fixed angles inside attention
}
INSIDE: frozenset[PositionKind] = frozenset({"relative", "relative-bias", "rotary-2d"})
"""Kinds that act inside attention, where they have to see the queries of all tokens."""


def as_size(value: object) -> object:
    """A side in pixels may be given once for a square."""
    return (value, value) if isinstance(value, int) else value


Sides = Annotated[tuple[PositiveInt, PositiveInt], BeforeValidator(as_size)]


class ViTConfig(BaseModel):
    """A Vision Transformer. Sizes are (height, width) in pixels; Source of the names: paper, section 3.1."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    family: Literal["vit"] = "vit"
    name: str = "custom"
    image_size: Sides = (224, 224)
    patch: Sides = (16, 16)
    channels: PositiveInt = 3
    patch_bias: bool = True
    classes: int = Field(1000, ge=0, description="0: no head; the model returns its embedding")
    width: PositiveInt
    depth: PositiveInt
    heads: PositiveInt
    mlp: PositiveInt = Field(description="hidden width of the feed-forward layers")

    positions: PositionKind = "learned"
    positions_at: Placement = "stem"
    resampling: Resampling = Field("bilinear-corners", description="how a learned table meets another grid")
    rotary_base: float = Field(100.0, gt=1)
    rotary_unit: RotaryUnit = Field("patch", description="a radian for each patch, or two turns across any grid")
    pooling: Pooling = "token"
    registers: int = Field(0, ge=0)
    head_hidden: PositiveInt | None = Field(None, description="width of the paper's tanh layer before the head")
    projection: PositiveInt | None = Field(None, description="width of the embedding after a layer without bias (CLIP)")
    head_bias: float = Field(0.0, description="what the head's bias starts from (-10 for sigmoid losses)")

    feedforward: FeedForwardKind = "gelu-tanh"
    qkv_bias: bool = True
    norm_eps: float = Field(1e-6, gt=0)
    pre_norm: bool = Field(False, description="a norm before the first block, as CLIP has it")
    norm_at: Literal["tokens", "pooled"] = Field("tokens", description="the last norm: before or after pooling")
    layer_scale: float | None = Field(None, description="initial value of the residual scales; none without")
    dropout: float = Field(0.0, ge=0, lt=1)
    drop_path: float = Field(0.0, ge=0, lt=1, description="stochastic depth of the last block; linear from 0")

    @model_validator(mode="after")
    def _fits_together(self) -> ViTConfig:
        for side, pixels, patch in zip(("height", "width"), self.image_size, self.patch, strict=True):
            if pixels % patch:
                lower, upper = pixels // patch * patch, (pixels // patch + 1) * patch
                raise ValueError(f"image {side} {pixels} is not divisible by the patch size {patch}; "
                                 f"use {f'{lower} or ' * bool(lower)}{upper}")
        if self.width % self.heads:
            raise ValueError(f"width {self.width} is not divisible by {self.heads} heads")
        allowed = PLACEMENTS[self.positions]
        if self.positions_at not in allowed:
            raise ValueError(f"{self.positions} positions cannot stand at {self.positions_at!r}; "
                             f"allowed: {', '.join(allowed)}")
        if self.positions == "sincos-2d" and self.width % 4:
            raise ValueError(f"sincos-2d positions need a width divisible by 4, not {self.width}")
        if self.positions == "learned-2d" and self.width % 2:
            raise ValueError(f"learned-2d positions need an even width, not {self.width}")
        if self.positions == "rotary-2d" and self.head_width % 4:
            raise ValueError(f"rotary-2d positions need a head width divisible by 4, not {self.head_width}")
        return self

    @property
    def grid(self) -> Grid:
        """Rows and columns of patches."""
        return self.image_size[0] // self.patch[0], self.image_size[1] // self.patch[1]

    @property
    def patches(self) -> int:
        return self.grid[0] * self.grid[1]

    @property
    def class_tokens(self) -> int:
        return {"token": 1, "token+mean": 1, "distilled": 2}.get(self.pooling, 0)

    @property
    def prefix(self) -> int:
        """Tokens in front of the patches: the class token, then the registers."""
        return self.class_tokens + self.registers

    @property
    def reads(self) -> int | None:
        """How many tokens, the first ones, pooling reads of the last block; None where it reads them all."""
        return self.class_tokens if self.pooling in ("token", "distilled") else None

    @property
    def tokens(self) -> int:
        return self.prefix + self.patches

    @property
    def spans(self) -> tuple[int, ...]:
        """How many tokens each token meets, in each attention layer of a block."""
        return (self.tokens,)

    @property
    def head_width(self) -> int:
        return self.width // self.heads

    @property
    def pooled(self) -> int:
        """Numbers in the vector that pooling gives."""
        return 2 * self.width if self.pooling in ("token+mean", "distilled") else self.width

    @property
    def embedding(self) -> int:
        """Numbers in what `embed` returns: the vector before the linear head."""
        return self.projection or self.head_hidden or self.pooled

    @property
    def layers(self) -> int:
        """Parts that repeat."""
        return self.depth

    def at_size(self, image_size: Size, patch: Size | None = None) -> ViTConfig:
        """For images (and patches) of another size."""
        other = {} if patch in (None, self.patch) else {"patch": patch, "name": with_patch(self.name, patch)}
        return type(self).model_validate(self.model_dump() | {"image_size": image_size} | other)
