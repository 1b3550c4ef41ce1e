"""CLIP's towers, as older code and other makers left them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
import transformers
from models.small import awake
from published import assert_agree
from safetensors.torch import load_file, save_file

from huggingface.peers import TEXT, TOWER, answers, pictures, save_peer
from vitrail import weights
from vitrail.bundle import Bundle
from vitrail.data.preprocess import Preprocess
from vitrail.errors import BundleError
from vitrail.models import ViTConfig


def prefixed(folder: Path) -> None:
    """As older versions saved the tower alone: under `vision_model.`, and with the whole numbers of its places."""
    held = {f"vision_model.{name}": value for name, value in load_file(folder / "model.safetensors").items()}
    held["vision_model.embeddings.position_ids"] = torch.arange(10)[None]
    save_file(held, folder / "model.safetensors")


@pytest.mark.parametrize("name", ["clip tower", "siglip tower", "siglip 2 tower"])
@torch.inference_mode()
def test_a_tower_under_the_prefix_of_older_files(tmp_path: Path, name: str) -> None:
    peer = save_peer(name, tmp_path)
    prefixed(tmp_path)
    assert_agree(weights.load(tmp_path).model(pictures(24, 24)), answers(name, peer, pictures(24, 24)))


@torch.inference_mode()
def test_patches_are_as_theirs_too(tmp_path: Path) -> None:
    """Their last hidden state is before the last norm."""
    peer = save_peer("clip tower", tmp_path)
    expected = peer(pictures(24, 24)).last_hidden_state[:, 1:]
    assert_agree(weights.load(tmp_path).model.feature_map(pictures(24, 24)).flatten(2).transpose(1, 2), expected)


def test_the_projection_is_the_end_of_the_embedding(tmp_path: Path) -> None:
    save_peer("clip", tmp_path)
    config = weights.load(tmp_path).model.config
    assert (config.embedding, config.projection, config.classes) == (6, 6, 0)
    assert (config.feedforward, config.norm_eps, config.norm_at) == ("gelu-quick", 1e-5, "pooled")


def test_settings_in_the_second_section_count(tmp_path: Path) -> None:
    """OpenAI's large models have them in `vision_config_dict`, and those of the base model in `vision_config`."""
    save_peer("clip", tmp_path)
    before = weights.load(tmp_path).model.config
    settings = json.loads((tmp_path / "config.json").read_text())
    settings["vision_config_dict"] = settings["vision_config"]
    settings["vision_config"] = {"hidden_size": 768}
    (tmp_path / "config.json").write_text(json.dumps(settings))
    assert weights.load(tmp_path).model.config == before


@pytest.mark.parametrize("section", [None, [], "large", {}])
def test_without_settings_those_of_the_base_model_hold(tmp_path: Path, section: object) -> None:
    save_peer("clip", tmp_path)
    settings = json.loads((tmp_path / "config.json").read_text()) | {"vision_config": section}
    (tmp_path / "config.json").write_text(json.dumps(settings))
    with pytest.raises(BundleError, match=r"encoder\.layers\.2\.layer_norm1\.weight is missing"):
        weights.load(tmp_path)


def test_a_classifier_on_unnormed_patches_is_refused(tmp_path: Path) -> None:
    config = transformers.CLIPConfig(vision_config=TOWER, text_config=TEXT)
    transformers.CLIPForImageClassification(config).save_pretrained(tmp_path)
    with pytest.raises(BundleError, match=r"before their last norm.*vision_model\.save_pretrained"):
        weights.load(tmp_path)


@pytest.mark.parametrize("format_name", ["official", "big_vision", "timm", "huggingface"])
def test_other_formats_refuse_what_they_cannot_hold(tmp_path: Path, format_name: str) -> None:
    config = ViTConfig(image_size=24, patch=8, width=16, depth=1, heads=2, mlp=24, classes=0, pre_norm=True,
                       patch_bias=False, projection=6, feedforward="gelu-quick", resampling="bicubic-antialias")
    with pytest.raises(BundleError, match=f"The format '{format_name}' (cannot hold this model|has no place)"):
        weights.write(Bundle(awake(config), Preprocess(size=24)), tmp_path / "out", format_name)
