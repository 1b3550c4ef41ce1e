"""The light decoder of a masked autoencoder (2111.06377): from what is known of some patches to pixels of others."""

from __future__ import annotations

import torch
from jaxtyping import Float, Int
from pydantic import BaseModel, ConfigDict, PositiveInt, model_validator
from torch import Tensor, nn

from vitrail.models import ViTConfig
from vitrail.models.vit.encoder import Encoder
from vitrail.models.vit.patches import places_of
from vitrail.vocabulary import Tokens

TEMPERATURE = 10_000.0


class DecoderSettings(BaseModel):
    """As published, for every size of encoder; a small one does with less (recipes/pretrain.py)."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    width: PositiveInt = 512
    depth: PositiveInt = 8
    heads: PositiveInt = 16

    @model_validator(mode="after")
    def _fits_together(self) -> DecoderSettings:
        if self.width % self.heads:
            raise ValueError(f"a decoder {self.width} wide is not divisible by {self.heads} heads")
        if self.width % 4:
            raise ValueError(f"the positions of the decoder need a width divisible by 4, not {self.width}")
        return self


class Decoder(nn.Module):
    """Blocks like the encoder's, over all patches: those that were seen, and a learned mask for each of the others."""

    table: Tensor

    def __init__(self, encoder: ViTConfig, settings: DecoderSettings, outputs: int) -> None:
        super().__init__()
        self.config = stack_config(encoder, settings)
        self.embed = nn.Linear(encoder.width, settings.width)
        self.mask = nn.Parameter(torch.empty(settings.width))
        self.stack = Encoder(self.config)
        self.norm = nn.LayerNorm(settings.width, eps=encoder.norm_eps)
        self.prediction = nn.Linear(settings.width, outputs)
        self.register_buffer("table", sines(encoder.grid, settings.width), persistent=False)
        self.initialize()

    def initialize(self) -> None:
        for part in self.stack.modules():
            draw = getattr(part, "initialize", None)
            if callable(draw):
                draw()
        nn.init.normal_(self.mask, std=0.02)
        for layer in (self.embed, self.prediction):
            nn.init.xavier_uniform_(layer.weight)
            nn.init.zeros_(layer.bias)

    def forward(self, seen: Float[Tensor, "batch tokens width"], seen_places: Int[Tensor, "batch seen"],
                masked_places: Int[Tensor, "batch masked"]) -> Float[Tensor, "batch masked outputs"]:
        """`seen`: what the encoder says, its prefix in front; places are numbers in reading order.

        Masks stand first, so that the last block computes them alone: it is their places that say where they are, and
        the order of tokens says nothing.
        """
        known = self.embed(seen)
        prefix = known.shape[1] - seen_places.shape[1]
        masks = self.mask + self.table[masked_places]
        values = torch.cat((masks, known[:, :prefix], known[:, prefix:] + self.table[seen_places]), dim=1)
        nowhere = Tokens(values, seen_places.new_zeros(0, 2), self.config.grid)
        answers: Tensor = self.prediction(self.norm(self.stack(values, nowhere, masks.shape[1])))
        return answers

    def macs(self, seen: int, masked: int) -> int:
        """Multiply-accumulates for one image, of `seen` tokens of the encoder and `masked` patches: of the last block
        the queries and the dense layers of masked ones alone."""
        width, tokens = self.config.width, seen + masked
        of_query = 2 * width**2 + 2 * width * self.config.mlp + 2 * tokens * width
        blocks = self.config.depth * tokens * (2 * width**2 + of_query) - seen * of_query
        return seen * self.embed.in_features * width + blocks + masked * width * self.prediction.out_features


def stack_config(encoder: ViTConfig, settings: DecoderSettings) -> ViTConfig:
    """The decoder as a ViT of its own: with the encoder's kind of numbers, without dropout, four times as wide inside
    as outside, and without positions, since `Decoder` adds them."""
    kind = "gelu" if encoder.feedforward == "swiglu" else encoder.feedforward
    return ViTConfig(
        name="decoder", image_size=encoder.image_size, patch=encoder.patch, width=settings.width, depth=settings.depth,
        heads=settings.heads, mlp=4 * settings.width, positions="none", pooling="mean", registers=encoder.prefix,
        classes=0, feedforward=kind, qkv_bias=encoder.qkv_bias, norm_eps=encoder.norm_eps)


def sines(grid: tuple[int, int], width: int) -> Float[Tensor, "patches width"]:
    """The published positions: sines, then cosines of the column, then of the row; a quarter of the width each. The
    slowest wave is one step shorter than that of `sincos-2d`, big_vision's."""
    places = places_of(grid, torch.device("cpu")).double()
    quarter = width // 4
    angles = places[..., None] * TEMPERATURE ** -(torch.arange(quarter, dtype=torch.float64) / quarter)
    row, column = angles.unbind(1)
    return torch.cat((column.sin(), column.cos(), row.sin(), row.cos()), dim=-1).float()
