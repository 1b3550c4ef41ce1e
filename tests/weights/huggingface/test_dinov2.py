"""What DINOv2's settings say of the feed-forward layers, at the sizes that are published."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
import transformers

from vitrail.models import ViTConfig
from vitrail.weights.huggingface.dinov2 import body, settings

SIZES = [(384, 1536, 6, False), (768, 3072, 12, False), (1024, 4096, 16, False), (1536, 4096, 24, True)]


@pytest.mark.parametrize("registers", [0, 4])
@pytest.mark.parametrize(("width", "mlp", "heads", "gated"), SIZES)
def test_published_sizes_have_their_keys_and_shapes(width: int, mlp: int, heads: int, gated: bool,
                                                    registers: int) -> None:
    """One block of each, without memory: our rules against the model that our settings build in their code."""
    config = ViTConfig(image_size=518, patch=14, width=width, depth=1, heads=heads, mlp=mlp, classes=0, layer_scale=1.0,
                       feedforward="swiglu" if gated else "gelu", registers=registers)
    said: dict[str, Any] = {"hidden_size": width, "num_hidden_layers": 1, "num_attention_heads": heads,
                            "image_size": 518, "patch_size": 14, **settings(config)}
    build, configure = ((transformers.Dinov2WithRegistersModel, transformers.Dinov2WithRegistersConfig) if registers
                        else (transformers.Dinov2Model, transformers.Dinov2Config))
    with torch.device("meta"):
        theirs = {name: tuple(value.shape) for name, value in build(configure(**said)).state_dict().items()}
    ours = {name: shape for rule in body(config, said) for name, shape in rule.theirs.items()}
    del theirs["embeddings.mask_token"]
    assert sum(map(math.prod, ours.values())) == sum(map(math.prod, theirs.values()))
    assert said["mlp_ratio"] == 4
