"""DINOv3's ViT (2508.10104): rotary positions across the grid, registers, layer scale, keys without bias. Only read."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from vitrail.errors import BundleError
from vitrail.models import ViTConfig
from vitrail.weights.huggingface.family import BASE, IMAGENET, SQUASHED, Family, Settings
from vitrail.weights.layout import Rule, layer, norm, patches, query_key_value, same, stacked_layer
from vitrail.weights.opened import Opened

BIASES: Settings = {"query_bias": True, "key_bias": False, "value_bias": True}
DEFAULTS: Settings = {**BASE, **BIASES, "hidden_size": 384, "intermediate_size": 1536, "num_attention_heads": 6,
                      "layer_norm_eps": 1e-5, "rope_theta": 100.0, "layerscale_value": 1.0, "num_register_tokens": 0,
                      "use_gated_mlp": False}


def fields(given: Opened) -> dict[str, Any]:
    said = given.settings
    if said["use_gated_mlp"] and said["hidden_act"] != "silu":
        raise BundleError(f"{given.path} has gates with the activation {said['hidden_act']!r}; vitrail's are with "
                          "'silu', as in all published DINOv3 models.")
    return {"positions": "rotary-2d", "positions_at": "shared", "rotary_unit": "grid",
            "rotary_base": said["rope_theta"], "registers": said["num_register_tokens"],
            "layer_scale": said["layerscale_value"], "qkv_bias": any(biased(said)),
            **({"feedforward": "swiglu"} if said["use_gated_mlp"] else {})}


def biased(said: Settings) -> list[bool]:
    return [bool(said[name]) for name in BIASES]


def body(config: ViTConfig, settings: Settings) -> Iterator[Rule]:
    width = config.width
    yield from patches(config, "embeddings.patch_embeddings")
    yield same("prefix.class_token", "embeddings.cls_token", (1, 1, width))
    yield same("prefix.registers", "embeddings.register_tokens", (1, config.registers, width))  # perhaps none
    for number in range(config.depth):
        yield from block(config, f"encoder.blocks.{number}.", f"layer.{number}.", biased(settings))
    yield from norm("norm", "norm", width)


def block(config: ViTConfig, ours: str, theirs: str, biases: list[bool]) -> Iterator[Rule]:
    width, mlp, gates = config.width, config.mlp, [f"{theirs}mlp.gate_proj", f"{theirs}mlp.up_proj"]
    yield from norm(f"{ours}norm1", f"{theirs}norm1", width)
    yield from query_key_value(f"{ours}attention.qkv", [f"{theirs}attention.{part}_proj" for part in "qkv"], width,
                               biases)
    yield from layer(f"{ours}attention.out", f"{theirs}attention.o_proj", width, width)
    yield from norm(f"{ours}norm2", f"{theirs}norm2", width)
    yield from stacked_layer(f"{ours}feed_forward.expand", gates if config.feedforward == "swiglu" else gates[1:], mlp,
                             width)
    yield from layer(f"{ours}feed_forward.contract", f"{theirs}mlp.down_proj", width, mlp)
    for branch in (1, 2):
        yield same(f"{ours}branch{branch}.scale", f"{theirs}layer_scale{branch}.lambda1", (width,))


DINOV3 = Family(defaults=DEFAULTS, usual={**SQUASHED, **IMAGENET}, fields=fields, body=body,
                ignored={r"embeddings\.mask_token": "the mask token of pre-training"})
