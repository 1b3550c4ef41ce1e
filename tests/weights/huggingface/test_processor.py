"""preprocessor_config.json, as several generations of `transformers` write it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from models.small import awake
from PIL import Image
from transformers import AutoImageProcessor

from huggingface.peers import save_peer
from vitrail import weights
from vitrail.bundle import Bundle
from vitrail.data.preprocess import Preprocess
from vitrail.errors import BundleError
from vitrail.models import ViTConfig

CLIP_MEAN, CLIP_STD = (0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)


@pytest.mark.parametrize(("said", "expected"), [
    ({"size": {"height": 32, "width": 24}, "resample": 2}, Preprocess(size=(32, 24))),
    ({"size": 32, "resample": 3}, Preprocess(size=32, interpolation="bicubic")),
    ({"size": {"shortest_edge": 256}, "do_center_crop": True, "crop_size": {"height": 224, "width": 224},
      "resample": 3, "image_mean": [0.485, 0.456, 0.406], "image_std": [0.229, 0.224, 0.225]},
     Preprocess(size=224, resize="crop", crop_fraction=0.875, interpolation="bicubic", mean=(0.485, 0.456, 0.406),
                std=(0.229, 0.224, 0.225))),
    ({"size": 224, "do_center_crop": True, "crop_size": 224, "resample": 3},
     Preprocess(size=224, resize="crop", interpolation="bicubic")),
    ({"size": {"height": 24, "width": 24}, "do_normalize": False}, Preprocess(size=24, mean=(0, 0, 0), std=(1, 1, 1))),
])
def test_preprocessing_as_the_folder_says(tmp_path: Path, said: dict[str, Any], expected: Preprocess) -> None:
    save_peer("vit", tmp_path)
    (tmp_path / "preprocessor_config.json").write_text(json.dumps(said))
    bundle = weights.load(tmp_path)
    assert bundle.preprocess == expected
    assert "notes" not in bundle.provenance


@pytest.mark.parametrize(("name", "expected"), [
    ("clip tower", Preprocess(size=24, resize="crop", interpolation="bicubic", mean=CLIP_MEAN, std=CLIP_STD)),
    ("siglip tower", Preprocess(size=24, interpolation="bicubic")),
    ("siglip 2 tower", Preprocess(size=24)),
])
def test_what_is_usual_where_the_folder_does_not_say(tmp_path: Path, name: str, expected: Preprocess) -> None:
    save_peer(name, tmp_path)
    bundle = weights.load(tmp_path)
    assert bundle.preprocess == expected
    assert "usual preprocessing" in bundle.provenance["notes"][-1]


def test_pictures_in_their_own_shape_are_squashed_aloud(tmp_path: Path) -> None:
    save_peer("siglip 2 tower", tmp_path)
    (tmp_path / "preprocessor_config.json").write_text(json.dumps(
        {"max_num_patches": 9, "patch_size": 8, "resample": 2, "image_mean": [0.5] * 3, "image_std": [0.5] * 3}))
    bundle = weights.load(tmp_path)
    assert bundle.preprocess == Preprocess(size=24)
    assert "squashed to 24 x 24" in bundle.provenance["notes"][0]


@pytest.mark.parametrize("said", [{"rescale_factor": 1 / 127.5}, {"do_rescale": False}])
def test_numbers_on_another_scale_are_refused(tmp_path: Path, said: dict[str, Any]) -> None:
    save_peer("vit", tmp_path)
    (tmp_path / "preprocessor_config.json").write_text(json.dumps(said))
    with pytest.raises(BundleError, match="0 to 255"):
        weights.load(tmp_path)


@pytest.mark.parametrize("preprocess", [
    Preprocess(size=(32, 24)),
    Preprocess(size=24, resize="crop", crop_fraction=0.75, interpolation="bicubic", mean=(0.4, 0.5, 0.6)),
], ids=["squash", "crop"])
def test_their_processor_does_what_ours_does(tmp_path: Path, preprocess: Preprocess) -> None:
    """To two grey levels: Pillow and torch round differently. The picture's shape is such that both resize it to the
    same whole pixels (they cut off where we round)."""
    config = ViTConfig(image_size=24, patch=8, width=8, depth=1, heads=1, mlp=8, classes=2, feedforward="gelu",
                       resampling="bicubic")
    folder = weights.write(Bundle(awake(config), preprocess), tmp_path / "out", "huggingface")
    pixels = np.random.default_rng(0).integers(0, 256, (48, 66, 3), dtype=np.uint8)
    theirs = AutoImageProcessor.from_pretrained(folder, use_fast=False)(
        Image.fromarray(pixels), return_tensors="pt")["pixel_values"]
    ours = preprocess.normalize(preprocess.apply(pixels)[None])
    torch.testing.assert_close(ours, theirs, atol=2 / 255 / min(preprocess.std), rtol=0)
