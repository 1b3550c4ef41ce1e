"""The image tower of CLIP (2103.00020): a norm before the first block, quick GELU, patches without a bias.

The last norm comes after the class token is taken. Where the file holds the projection to the space that images share
with texts, the features are what it gives, not yet of length one.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace
from typing import Any

from vitrail.errors import BundleError
from vitrail.models import ViTConfig
from vitrail.weights.huggingface.family import BASE, Family, Settings
from vitrail.weights.layout import Rule, layer, norm, patches, positions, same, stacked_layer
from vitrail.weights.opened import Opened

DEFAULTS: Settings = {**BASE, "patch_size": 32, "hidden_act": "quick_gelu", "layer_norm_eps": 1e-5}
USUAL = {"resize": "crop", "interpolation": "bicubic", "mean": (0.48145466, 0.4578275, 0.40821073),
         "std": (0.26862954, 0.26130258, 0.27577711)}
TEXT = {r"text_model\..*|text_projection\.weight|logit_(scale|bias)": "the text tower"}


def fields(given: Opened) -> dict[str, Any]:
    if "classifier.weight" in given.shapes:
        raise BundleError(f"{given.path} classifies by the mean of CLIP's patches before their last norm, which "
                          "vitrail does not have. Its tower can be read: model.vision_model.save_pretrained(folder).")
    projection = given.shapes.get("visual_projection.weight") or (None,)
    return {"patch_bias": False, "pre_norm": True, "norm_at": "pooled", "projection": projection[0]}


def body(config: ViTConfig, settings: Settings) -> Iterator[Rule]:
    yield from patches(config, "embeddings.patch_embedding")
    yield same("prefix.class_token", "embeddings.class_embedding", (config.width,))
    yield positions(config, "embeddings.position_embedding.weight", leading=())
    yield from norm("encoder.pre_norm", "pre_layrnorm", config.width)
    yield from blocks(config)
    yield from norm("pool_norm", "post_layernorm", config.width)


def blocks(config: ViTConfig) -> Iterator[Rule]:
    width, mlp = config.width, config.mlp
    for number in range(config.depth):
        ours, theirs = f"encoder.blocks.{number}.", f"encoder.layers.{number}."
        attention = f"{theirs}self_attn."
        yield from norm(f"{ours}norm1", f"{theirs}layer_norm1", width)
        yield from stacked_layer(f"{ours}attention.qkv", [f"{attention}{part}_proj" for part in "qkv"], width, width)
        yield from layer(f"{ours}attention.out", f"{attention}out_proj", width, width)
        yield from norm(f"{ours}norm2", f"{theirs}layer_norm2", width)
        yield from layer(f"{ours}feed_forward.expand", f"{theirs}mlp.fc1", mlp, width)
        yield from layer(f"{ours}feed_forward.contract", f"{theirs}mlp.fc2", width, mlp)


def head(config: ViTConfig) -> Iterable[Rule]:
    if config.projection:
        yield same("projection.weight", "visual_projection.weight", (config.projection, config.width))


CLIP_VISION = Family(defaults=DEFAULTS, usual=USUAL, fields=fields, body=body, head=head, prefix="vision_model.")
CLIP = replace(CLIP_VISION, section="vision_config", ignored=TEXT)
