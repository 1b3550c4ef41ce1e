"""DINOv2 (2304.07193), with and without registers: layer scale, a gated unit in the largest, and a head that sees the
class token beside the mean of the patches. Positions are resampled with antialiasing where there are registers."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import torch

from vitrail.errors import BundleError
from vitrail.models import ViTConfig
from vitrail.weights.huggingface.family import BASE, CENTRAL, IMAGENET, Family, Settings, Written
from vitrail.weights.huggingface.vit import IGNORED, PROJECTION, attention
from vitrail.weights.layout import Rule, layer, norm, patches, positions, same
from vitrail.weights.opened import Opened

DEFAULTS: Settings = {**BASE, "patch_size": 14, "layer_norm_eps": 1e-6, "qkv_bias": True,
                      "layerscale_value": 1.0, "use_swiglu_ffn": False}
WITH_REGISTERS: Settings = {**DEFAULTS, "patch_size": 16, "num_register_tokens": 4}


def fields(given: Opened) -> dict[str, Any]:
    """The hidden width is told from the weights; the settings give a ratio, from which it is rounded."""
    said, gated = given.settings, bool(given.settings["use_swiglu_ffn"])
    contract = given.shapes.get(f"encoder.layer.0.mlp.{'weights_out' if gated else 'fc2'}.weight") or (0,)
    return {"mlp": contract[-1], "layer_scale": said["layerscale_value"], "qkv_bias": said["qkv_bias"],
            "pooling": "token+mean" if "classifier.weight" in given.shapes else "token",
            **({"feedforward": "swiglu"} if gated else {})}


def with_registers(given: Opened) -> dict[str, Any]:
    return fields(given) | {"registers": given.settings["num_register_tokens"], "resampling": "bicubic-antialias"}


def body(config: ViTConfig, settings: Settings) -> Iterator[Rule]:
    width = config.width
    yield from patches(config, PROJECTION)
    yield same("prefix.class_token", "embeddings.cls_token", (1, 1, width))
    yield positions(config, "embeddings.position_embeddings")
    if config.registers:
        yield same("prefix.registers", "embeddings.register_tokens", (1, config.registers, width))
    for number in range(config.depth):
        yield from block(config, f"encoder.blocks.{number}.", f"encoder.layer.{number}.")
    yield from norm("norm", "layernorm", width)


def block(config: ViTConfig, ours: str, theirs: str) -> Iterator[Rule]:
    width, mlp = config.width, config.mlp
    gates, expand, contract = (2, "weights_in", "weights_out") if config.feedforward == "swiglu" else (1, "fc1", "fc2")
    yield from norm(f"{ours}norm1", f"{theirs}norm1", width)
    yield from attention(config, f"{ours}attention.", f"{theirs}attention.")
    yield from norm(f"{ours}norm2", f"{theirs}norm2", width)
    yield from layer(f"{ours}feed_forward.expand", f"{theirs}mlp.{expand}", gates * mlp, width)
    yield from layer(f"{ours}feed_forward.contract", f"{theirs}mlp.{contract}", width, mlp)
    for number in (1, 2):
        yield same(f"{ours}branch{number}.scale", f"{theirs}layer_scale{number}.lambda1", (width,))


def allowed(config: ViTConfig) -> Mapping[str, Sequence[object]]:
    return {"positions": ("learned",), "positions_at": ("stem",), "norm_at": ("tokens",), "head_hidden": (None,),
            "pooling": ("token+mean" if config.classes else "token",),
            "resampling": ("bicubic-antialias" if config.registers else "bicubic",),
            "patch_bias": (True,)}


def settings(config: ViTConfig) -> Settings:
    return {"mlp_ratio": mlp_ratio(config), "use_swiglu_ffn": config.feedforward == "swiglu",
            "layerscale_value": config.layer_scale,
            **({"num_register_tokens": config.registers} if config.registers else {})}


def mlp_ratio(config: ViTConfig) -> int:
    """Whole in their settings; of a gated unit they take two thirds, rounded up to a multiple of eight."""
    for ratio in range(1, 65):
        hidden = config.width * ratio
        if config.feedforward == "swiglu":
            hidden = (int(hidden * 2 / 3) + 7) // 8 * 8
        if hidden == config.mlp:
            return ratio
    raise BundleError(f"The format 'huggingface' cannot hold a feed-forward layer of {config.mlp} for a width of "
                      f"{config.width}: DINOv2 states it as a whole multiple.")


def mask_token(config: ViTConfig) -> dict[str, torch.Tensor]:
    return {"embeddings.mask_token": torch.zeros(1, config.width)}


DINOV2 = Family(defaults=DEFAULTS, usual={**CENTRAL, **IMAGENET}, fields=fields, body=body, prefix="dinov2.",
                ignored=IGNORED)
DINOV2_WITH_REGISTERS = replace(DINOV2, defaults=WITH_REGISTERS, fields=with_registers,
                                prefix="dinov2_with_registers.")
DINOV2_WRITTEN = Written("Dinov2", allowed, settings, mask_token)
DINOV2_WITH_REGISTERS_WRITTEN = replace(DINOV2_WRITTEN, architecture="Dinov2WithRegisters")
