"""What SigLIP's towers do beyond giving their numbers."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from published import assert_agree
from safetensors.torch import load_file, save_file

from huggingface.peers import answers, pictures, save_peer
from vitrail import weights
from vitrail.errors import BundleError


@torch.inference_mode()
def test_a_list_of_patches_resamples_as_bilinear_with_antialiasing(tmp_path: Path) -> None:
    """Far from the square of the table in both directions."""
    peer = save_peer("siglip 2 tower", tmp_path)
    model = weights.load(tmp_path).model
    assert model.config.resampling == "bilinear-antialias"
    for size in (8, 8), (8, 64), (72, 16):
        assert_agree(model(pictures(*size)), answers("siglip 2 tower", peer, pictures(*size)))


def test_the_pooling_beside_a_classifier_has_to_be_whole(tmp_path: Path) -> None:
    save_peer("siglip classifier", tmp_path)
    held = load_file(tmp_path / "model.safetensors")
    del held["vision_model.head.mlp.fc1.bias"]
    save_file(held, tmp_path / "model.safetensors")
    with pytest.raises(BundleError, match=r"vision_model\.head\.mlp\.fc1\.bias is missing"):
        weights.load(tmp_path)


@pytest.mark.parametrize("change", [{"num_patches": 10}, {"num_patches": "9"}, {"num_patches": -9}, {"patch_size": 0},
                                    {"patch_size": "8"}])
def test_places_that_are_no_square_are_refused(tmp_path: Path, change: dict[str, object]) -> None:
    save_peer("siglip 2 tower", tmp_path)
    settings = json.loads((tmp_path / "config.json").read_text()) | change
    (tmp_path / "config.json").write_text(json.dumps(settings))
    with pytest.raises(BundleError, match="a square of patches is expected"):
        weights.load(tmp_path)
