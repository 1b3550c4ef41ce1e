"""Attention maps are those of transformers (eager, `output_attentions`) for the same weights."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import transformers

import vitrail
from vitrail.inspection import attention_maps, record
from vitrail.inspection.lens import encoded, normalized

SMALL = {"hidden_size": 32, "num_hidden_layers": 3, "num_attention_heads": 4, "image_size": 32, "patch_size": 8}
FAMILIES: dict[str, Any] = {
    "vit": (transformers.ViTConfig(**SMALL, intermediate_size=64), transformers.ViTModel),
    "deit": (transformers.DeiTConfig(**SMALL, intermediate_size=64), transformers.DeiTModel),
    "dinov2": (transformers.Dinov2Config(**SMALL, mlp_ratio=2), transformers.Dinov2Model),
}
PREFIX = {"vit": 1, "deit": 2, "dinov2": 1}


@pytest.mark.parametrize("size", [(32, 32), (24, 48)], ids=["own size", "rectangle"])
@pytest.mark.parametrize("family", FAMILIES)
@torch.inference_mode()
def test_maps_equal_those_of_transformers(family: str, size: tuple[int, int], tmp_path: Path) -> None:
    torch.manual_seed(0)
    config, kind = FAMILIES[family]
    config._attn_implementation = "eager"
    theirs = kind(config).eval()
    for parameter in theirs.parameters():
        parameter.add_(0.2 * torch.randn_like(parameter))
    theirs.save_pretrained(tmp_path)
    ours = vitrail.load(tmp_path)
    raw = torch.randint(0, 256, (2, 3, *size), dtype=torch.uint8)
    resized = {} if family == "dinov2" else {"interpolate_pos_encoding": size != (32, 32)}
    expected = theirs(pixel_values=normalized(ours, raw), output_attentions=True, **resized).attentions
    with record(ours.model) as trace:
        encoded(ours, raw)
    for recorded, wanted in zip(trace.values(), expected, strict=True):
        assert recorded.weights().numpy() == pytest.approx(wanted.numpy(), abs=1e-5)
    maps = attention_maps(ours, raw)
    grid = size[0] // 8, size[1] // 8
    of_class = np.stack([layer[:, :, 0, PREFIX[family]:].unflatten(-1, grid).numpy() for layer in expected])
    assert maps.heads == pytest.approx(of_class, abs=1e-5)
    assert of_class.std() > 0.01
