"""DeiT (2012.12877): a ViT with a second, distillation token. Two heads averaged are one layer; without a head for it,
the second token is a register. Folders are only read."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import torch

from vitrail.errors import BundleError
from vitrail.models import ViTConfig
from vitrail.weights.huggingface.family import CENTRAL, HALF, Family, Settings, classifier
from vitrail.weights.huggingface.vit import DEFAULTS, IGNORED, PROJECTION, encoder
from vitrail.weights.layout import TABLE, Rule, patches
from vitrail.weights.opened import Opened
from vitrail.weights.timm import two_heads

HEADS = ("cls_classifier", "distillation_classifier")


def fields(given: Opened) -> dict[str, Any]:
    fields: dict[str, Any] = {"qkv_bias": given.settings["qkv_bias"]}
    both = given.shapes.get(f"{HEADS[0]}.weight")
    return fields | ({"pooling": "distilled", "classes": both[0]} if both else {"registers": 1})


def body(config: ViTConfig, settings: Settings) -> Iterator[Rule]:
    yield from patches(config, PROJECTION)
    yield front(config)
    yield from encoder(config)


def front(config: ViTConfig) -> Rule:
    """The second token is a class token where a head looks at it, else a register, whose place is added to it."""
    width, first = config.width, config.class_tokens
    keys = {"embeddings.cls_token": (1, 1, width), "embeddings.distillation_token": (1, 1, width),
            "embeddings.position_embeddings": (1, 2 + config.patches, width)}

    def read(*given: torch.Tensor) -> tuple[torch.Tensor, ...]:
        classes, distillation, table = (one[0] for one in given)
        together, places = torch.cat((classes, distillation)), table[:2]
        return together[:first], (together + places)[first:], places[:first], table[2:]

    def write(*ours: torch.Tensor) -> tuple[torch.Tensor, ...]:
        raise BundleError("vitrail reads DeiT's folders but does not write them.")

    ours = ("prefix.class_token", "prefix.registers", TABLE + "class_position", TABLE + "table")
    return Rule(ours, keys, read, write)


def head(config: ViTConfig) -> Iterable[Rule]:
    return two_heads(config, HEADS) if config.pooling == "distilled" else classifier(config)


DEIT = Family(defaults=DEFAULTS, usual={**CENTRAL, **HALF}, fields=fields, body=body, head=head, prefix="deit.",
              ignored=IGNORED)
