"""ViT, and DINO's, which is one without a head: the plain Vision Transformer. Its epsilon is 1e-12 by default."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from vitrail.models import ViTConfig
from vitrail.weights.huggingface.family import BASE, HALF, SQUASHED, Family, Settings, Written
from vitrail.weights.layout import Rule, layer, norm, patches, positions, same, stacked_layer
from vitrail.weights.opened import Opened

PROJECTION = "embeddings.patch_embeddings.projection"
DEFAULTS: Settings = {**BASE, "layer_norm_eps": 1e-12, "qkv_bias": True}
IGNORED = {r"pooler\.dense\.(weight|bias)": "the tanh layer behind the class token (pooler)",
           r"embeddings\.mask_token": "the mask token of pre-training",
           r"decoder\.0\.(weight|bias)": "the decoder of pre-training"}


def fields(given: Opened) -> dict[str, Any]:
    return {"qkv_bias": given.settings["qkv_bias"]}


def body(config: ViTConfig, settings: Settings) -> Iterator[Rule]:
    yield from patches(config, PROJECTION)
    yield same("prefix.class_token", "embeddings.cls_token", (1, 1, config.width))
    yield positions(config, "embeddings.position_embeddings")
    yield from encoder(config)


def encoder(config: ViTConfig) -> Iterator[Rule]:
    """The blocks and the last norm."""
    for number in range(config.depth):
        yield from block(config, f"encoder.blocks.{number}.", f"encoder.layer.{number}.")
    yield from norm("norm", "layernorm", config.width)


def block(config: ViTConfig, ours: str, theirs: str) -> Iterator[Rule]:
    width, mlp = config.width, config.mlp
    yield from norm(f"{ours}norm1", f"{theirs}layernorm_before", width)
    yield from attention(config, f"{ours}attention.", f"{theirs}attention.")
    yield from norm(f"{ours}norm2", f"{theirs}layernorm_after", width)
    yield from layer(f"{ours}feed_forward.expand", f"{theirs}intermediate.dense", mlp, width)
    yield from layer(f"{ours}feed_forward.contract", f"{theirs}output.dense", width, mlp)


def attention(config: ViTConfig, ours: str, theirs: str) -> Iterator[Rule]:
    width = config.width
    yield from stacked_layer(f"{ours}qkv", [f"{theirs}attention.{part}" for part in ("query", "key", "value")], width,
                             width, config.qkv_bias)
    yield from layer(f"{ours}out", f"{theirs}output.dense", width, width)


def allowed(config: ViTConfig) -> Mapping[str, Sequence[object]]:
    return {"positions": ("learned",), "positions_at": ("stem",), "norm_at": ("tokens",), "pooling": ("token",),
            "resampling": ("bicubic",), "head_hidden": (None,), "registers": (0,),
            "feedforward": ("gelu", "gelu-tanh", "gelu-quick"), "patch_bias": (True,)}


def settings(config: ViTConfig) -> Settings:
    return {"intermediate_size": config.mlp}


VIT = Family(defaults=DEFAULTS, usual={**SQUASHED, **HALF}, fields=fields, body=body, prefix="vit.", ignored=IGNORED)
VIT_WRITTEN = Written("ViT", allowed, settings)
