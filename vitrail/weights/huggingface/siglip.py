"""The image towers of SigLIP (2303.15343) and SigLIP 2 (2502.14786): no class token, attention pooling.

SigLIP 2's flexible models (NaFlex, model type `siglip2`) take a list of patches; their layer for a patch is a
convolution written as a matrix. The other models of SigLIP 2 are published with the model type `siglip`.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import torch

from vitrail.errors import BundleError
from vitrail.models import ViTConfig
from vitrail.weights.huggingface.clip import TEXT, blocks
from vitrail.weights.huggingface.family import BASE, HALF, SQUASHED, Family, Settings
from vitrail.weights.known import pair
from vitrail.weights.layout import Rule, layer, norm, patches, positions, same
from vitrail.weights.opened import Opened, square

PATCH = "embeddings.patch_embedding"
DEFAULTS: Settings = {**BASE, "hidden_act": "gelu_pytorch_tanh", "layer_norm_eps": 1e-6, "vision_use_head": True}
NAFLEX_DEFAULTS: Settings = {**DEFAULTS, "num_patches": 256}


def fields(given: Opened) -> dict[str, Any]:
    """A classifier looks at the mean of the patches, and so do we where there is no pooling."""
    pooled = given.settings["vision_use_head"] and "classifier.weight" not in given.shapes
    return {"pooling": "attention" if pooled else "mean"}


def naflex_fields(given: Opened) -> dict[str, Any]:
    places, patch = given.settings["num_patches"], pair(given.settings["patch_size"])
    side = square(places) if isinstance(places, int) else None
    if side is None or patch is None:
        raise BundleError(f"{given.path} has positions for num_patches={places!r} of {given.settings['patch_size']!r} "
                          "pixels, where a square of patches is expected.")
    return fields(given) | {"image_size": (side * patch[0], side * patch[1]), "resampling": "bilinear-antialias"}


def body(config: ViTConfig, settings: Settings) -> Iterator[Rule]:
    yield from patches(config, PATCH)
    yield from behind_patches(config, settings)


def naflex_body(config: ViTConfig, settings: Settings) -> Iterator[Rule]:
    """A patch is flattened row by row, the channels of a pixel side by side."""
    flat = (*config.patch, config.channels)
    yield Rule(("patchify.weight",), {f"{PATCH}.weight": (config.width, flat[0] * flat[1] * flat[2])},
               lambda matrix: (matrix.unflatten(1, flat).permute(0, 3, 1, 2),),
               lambda weight: (weight.permute(0, 2, 3, 1).flatten(1),))
    yield same("patchify.bias", f"{PATCH}.bias", (config.width,))
    yield from behind_patches(config, settings)


def behind_patches(config: ViTConfig, settings: Settings) -> Iterator[Rule]:
    yield positions(config, "embeddings.position_embedding.weight", leading=())
    yield from blocks(config)
    yield from norm("norm", "post_layernorm", config.width)
    if settings["vision_use_head"]:
        pooling = attention_pooling(config)
        yield from pooling if config.pooling == "attention" else map(passed_over, pooling)


def attention_pooling(config: ViTConfig) -> Iterator[Rule]:
    width = config.width
    yield same("pool.probe", "head.probe", (1, 1, width))
    for part, shape in ("weight", (3 * width, width)), ("bias", (3 * width,)):
        yield Rule((f"pool.query.{part}", f"pool.key_value.{part}"), {f"head.attention.in_proj_{part}": shape},
                   lambda together: (together[:width], together[width:]),
                   lambda *apart: (torch.cat(apart),))
    yield from layer("pool.out", "head.attention.out_proj", width, width)
    yield from norm("pool.norm", "head.layernorm", width)
    yield from layer("pool.feed_forward.expand", "head.mlp.fc1", config.mlp, width)
    yield from layer("pool.feed_forward.contract", "head.mlp.fc2", width, config.mlp)


def passed_over(rule: Rule) -> Rule:
    """Keys that have to be there and are not used: the pooling beside a classifier."""
    return replace(rule, ours=(), read=lambda *given: ())


SIGLIP_VISION = Family(defaults=DEFAULTS, usual={**SQUASHED, **HALF, "interpolation": "bicubic"}, fields=fields,
                       body=body, prefix="vision_model.")
SIGLIP = replace(SIGLIP_VISION, section="vision_config", ignored=TEXT)
SIGLIP2_VISION = replace(SIGLIP_VISION, defaults=NAFLEX_DEFAULTS, usual={**SQUASHED, **HALF}, fields=naflex_fields,
                         body=naflex_body)
SIGLIP2 = replace(SIGLIP2_VISION, section="vision_config", ignored=TEXT)
