"""BEiT (2106.08254), and data2vec's vision model, which is built alike: relative position bias, keys without bias,
layer scale. Folders are only read.

Where patches are averaged, nobody looks at the class token at the end, so it is a register to us. In files of masked
pre-training the last norm comes before the average; their head, which names visual words, is left out.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import torch

from vitrail.errors import BundleError
from vitrail.models import ViTConfig
from vitrail.models.vit.positions.relative_bias import table_shape
from vitrail.weights.huggingface.family import BASE, HALF, SQUASHED, Family, Settings, classifier
from vitrail.weights.huggingface.vit import PROJECTION
from vitrail.weights.layout import TABLE, Rule, layer, norm, only_read, patches, positions, query_key_value, same
from vitrail.weights.opened import Opened

BIAS = "relative_position_bias.relative_position_bias_table"

POSITIONS: dict[str, dict[str, str]] = {
    "use_absolute_position_embeddings": {"positions": "learned", "positions_at": "stem", "resampling": "bicubic"},
    "use_relative_position_bias": {"positions": "relative-bias", "positions_at": "every", "resampling": "bilinear"},
    "use_shared_relative_position_bias": {"positions": "relative-bias", "positions_at": "shared",
                                          "resampling": "bilinear"},
}
DEFAULTS: Settings = {**BASE, **dict.fromkeys(POSITIONS, False), "layer_norm_eps": 1e-12, "use_mean_pooling": True,
                      "layer_scale_init_value": 0.1}
IGNORED = {r"embeddings\.mask_token": "the mask token of pre-training",
           r"lm_head\.(weight|bias)": "the head of pre-training, which names visual words"}


def fields(given: Opened) -> dict[str, Any]:
    said = given.settings
    chosen = [name for name in POSITIONS if said[name]]
    if len(chosen) > 1:
        raise BundleError(f"{given.path} has positions of several kinds ({', '.join(chosen)}), and vitrail has one at "
                          "a time. No published BEiT has more.")
    mean = bool(said["use_mean_pooling"])
    return {"pooling": "mean" if mean else "token", "registers": int(mean),
            "norm_at": "pooled" if mean and "layernorm.weight" not in given.shapes else "tokens",
            "layer_scale": said["layer_scale_init_value"] if "encoder.layer.0.lambda_1" in given.shapes else None,
            **(POSITIONS[chosen[0]] if chosen else {"positions": "none"})}


def body(config: ViTConfig, settings: Settings) -> Iterator[Rule]:
    yield from patches(config, PROJECTION)
    yield from front(config)
    if config.positions_at == "shared":
        yield same(TABLE + "table", f"encoder.{BIAS}", table_shape(config))
    for number in range(config.depth):
        yield from block(config, number, f"encoder.layer.{number}.")
    if config.pooling == "token":
        yield from norm("norm", "layernorm", config.width)
    elif config.norm_at == "pooled":
        yield from pooled_norm(config, settings)


def head(config: ViTConfig) -> Iterator[Rule]:
    if config.pooling == "mean" and config.norm_at == "tokens":  # of pre-training
        yield from norm("norm", "layernorm", config.width)
    yield from classifier(config)


def pooled_norm(config: ViTConfig, settings: Settings) -> list[Rule]:
    """data2vec's files without a head end before it, and it starts as the identity, as in their code."""
    if config.classes or settings["model_type"] == "beit":
        return norm("pool_norm", "pooler.layernorm", config.width)
    start = torch.ones(config.width), torch.zeros(config.width)
    return [Rule(("pool_norm.weight", "pool_norm.bias"), {}, lambda: start, only_read)]


def front(config: ViTConfig) -> Iterator[Rule]:
    """Tokens and places in front of the blocks. The place of a register is added to it."""
    token, table, width = "embeddings.cls_token", "embeddings.position_embeddings", config.width
    if config.positions == "learned" and not config.class_tokens:
        keys = {token: (1, 1, width), table: (1, 1 + config.patches, width)}
        yield Rule(("prefix.registers", TABLE + "table"), keys,
                   lambda first, places: (first[0] + places[0, :1], places[0, 1:]), only_read)
        return
    yield same("prefix.class_token" if config.class_tokens else "prefix.registers", token, (1, 1, width))
    if config.positions == "learned":
        yield positions(config, table)


def block(config: ViTConfig, number: int, theirs: str) -> Iterator[Rule]:
    width, ours, attention = config.width, f"encoder.blocks.{number}.", f"{theirs}attention.attention."
    yield from norm(f"{ours}norm1", f"{theirs}layernorm_before", width)
    yield from query_key_value(f"{ours}attention.qkv", [attention + part for part in ("query", "key", "value")], width,
                               (True, False, True))
    yield from layer(f"{ours}attention.out", f"{theirs}attention.output.dense", width, width)
    yield from norm(f"{ours}norm2", f"{theirs}layernorm_after", width)
    yield from layer(f"{ours}feed_forward.expand", f"{theirs}intermediate.dense", config.mlp, width)
    yield from layer(f"{ours}feed_forward.contract", f"{theirs}output.dense", width, config.mlp)
    if config.layer_scale is not None:
        for branch in (1, 2):
            yield same(f"{ours}branch{branch}.scale", f"{theirs}lambda_{branch}", (width,))
    if config.positions_at == "every":
        yield same(f"encoder.positions.tables.{number}.table", attention + BIAS, table_shape(config))


def assumed(given: Opened) -> list[str]:
    whole = "classifier.weight" in given.shapes or "pooler.layernorm.weight" in given.shapes
    return [] if whole or not given.settings["use_mean_pooling"] else [
        "The norm behind the mean of the patches is not in the file: it starts as the identity."]


BEIT = Family(defaults=DEFAULTS, usual={**SQUASHED, **HALF}, fields=fields, body=body, head=head, prefix="beit.",
              ignored=IGNORED)
DATA2VEC = replace(BEIT, prefix="data2vec_vision.", assumed=assumed)
