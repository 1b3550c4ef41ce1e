"""Folders of `transformers`: their models give our numbers, and folders written by us give them theirs."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from models.small import awake
from published import GOLDEN, assert_agree, expected_of
from safetensors.torch import load_file, save_file

from huggingface.peers import PEERS, WRITTEN, answers, peer_of, pictures, save_peer
from vitrail import weights
from vitrail.bundle import Bundle
from vitrail.data.preprocess import Preprocess
from vitrail.errors import BundleError
from vitrail.models import ViTConfig
from vitrail.weights.huggingface import FAMILIES


def test_every_family_has_a_peer() -> None:
    assert {peer_of(name).config.model_type for name in PEERS} == set(FAMILIES)


@pytest.mark.parametrize("name", PEERS)
@torch.inference_mode()
def test_their_numbers_at_every_image_size(tmp_path: Path, name: str) -> None:
    """At the size of the file; at a larger one, a smaller one and a rectangle: on the way, and resampled once."""
    peer = save_peer(name, tmp_path)
    model = weights.load(tmp_path).model
    for size in (24, 24), (40, 40), (16, 16), (16, 40):
        expected = answers(name, peer, pictures(*size))
        assert_agree(model(pictures(*size)), expected)
        resized = weights.load(tmp_path, image_size=size)
        assert_agree(resized.model(pictures(*size)), expected)
        assert resized.model.config.image_size == resized.preprocess.size == size


@pytest.mark.parametrize("name", ["vit", "dinov2, registers"])
def test_the_file_may_be_named_instead_of_the_folder(tmp_path: Path, name: str) -> None:
    save_peer(name, tmp_path)
    renamed = (tmp_path / "model.safetensors").rename(tmp_path / "anything")
    assert weights.load(renamed).provenance["format"] == "huggingface"


@pytest.mark.parametrize("name", WRITTEN)
@torch.inference_mode()
def test_what_we_write_is_theirs_bit_for_bit(tmp_path: Path, name: str) -> None:
    peer = save_peer(name, tmp_path / "peer")
    bundle = weights.load(tmp_path / "peer")
    written = weights.write(bundle, tmp_path / "written", "huggingface")
    before, after = load_file(tmp_path / "peer/model.safetensors"), load_file(written / "model.safetensors")
    unused = {key for key in before if "pooler" in key}
    assert before.keys() - unused == after.keys()
    for key, value in after.items():
        assert torch.equal(value, before[key]) or "mask_token" in key, key
    again, loading = type(peer).from_pretrained(written, output_loading_info=True)
    assert set(loading["missing_keys"]) == unused
    assert not loading["unexpected_keys"]
    assert_agree(answers(name, again.eval(), pictures(24, 24)), answers(name, peer, pictures(24, 24)))
    reread = weights.load(written)
    assert reread.model.config == bundle.model.config
    fraction = bundle.preprocess.crop_fraction  # theirs is the shorter side in whole pixels
    assert reread.preprocess.crop_fraction == pytest.approx(fraction, abs=0.02)
    assert reread.preprocess.model_copy(update={"crop_fraction": fraction}) == bundle.preprocess


@torch.inference_mode()
def test_official_weights_in_their_hands(tmp_path: Path) -> None:
    """The golden values, at the model's own size, out of `transformers`; other sizes are warned of."""
    bundle = weights.load(GOLDEN / "vit_token.npz")
    with pytest.warns(UserWarning, match="at other image sizes readers of the format 'huggingface' resample positions"):
        folder = weights.write(bundle, tmp_path / "out", "huggingface")
    theirs = transformers.AutoModelForImageClassification.from_pretrained(folder).eval()
    values = expected_of("vit_token")
    assert_agree(theirs(values["images"]).logits, values["logits"])


@torch.inference_mode()
def test_a_model_of_ours_in_their_hands(tmp_path: Path) -> None:
    config = ViTConfig(image_size=24, patch=8, width=16, depth=2, heads=2, mlp=24, classes=3, feedforward="gelu-quick",
                       resampling="bicubic")
    preprocess = Preprocess(size=24, resize="crop", crop_fraction=0.75, interpolation="bicubic", mean=(0.4, 0.5, 0.6))
    ours = Bundle(awake(config), preprocess, ("cat", "dog", "Öl"), activation="sigmoid")
    folder = weights.write(ours, tmp_path / "out", "huggingface")
    theirs = transformers.AutoModelForImageClassification.from_pretrained(folder).eval()
    assert_agree(theirs(pictures(24, 24)).logits, ours.model(pictures(24, 24)))
    assert theirs.config.id2label == {0: "cat", 1: "dog", 2: "Öl"}
    read = weights.load(folder)
    assert (read.classes, read.activation, read.preprocess) == (ours.classes, "sigmoid", preprocess)
    assert torch.equal(read.model(pictures(24, 24)), ours.model(pictures(24, 24)))


@pytest.mark.parametrize(("fields", "said"), [
    ({"pooling": "mean"}, "pooling is 'mean', not 'token'"),
    ({"registers": 2}, "registers is 2, not 0"),
    ({"patch_bias": False}, "patch_bias is False"),
    ({"feedforward": "swiglu"}, "feedforward is 'swiglu'"),
    ({"pre_norm": True}, "no place for encoder.pre_norm.bias"),
    ({"projection": 6}, "no place for projection.weight"),
    ({"patch": (8, 4)}, "patches of 8 x 4"),
    ({"layer_scale": 0.1}, "pooling is 'token', not 'token\\+mean'"),
    ({"layer_scale": 0.1, "pooling": "token+mean"}, "whole multiple"),
])
def test_what_it_cannot_hold_is_not_written(tmp_path: Path, fields: dict[str, Any], said: str) -> None:
    config = ViTConfig.model_validate({
        "image_size": 24, "patch": 8, "width": 16, "depth": 1, "heads": 2, "mlp": 24, "classes": 3,
        "feedforward": "gelu", "resampling": "bicubic", **fields})
    with pytest.raises(BundleError, match=said):
        weights.write(Bundle(awake(config), Preprocess(size=24)), tmp_path / "out", "huggingface")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(("change", "said"), [
    ({"hidden_size": 32}, "is \\(16, 3, 8, 8\\), not \\(32, 3, 8, 8\\)"),
    ({"num_hidden_layers": 3}, "encoder.layer.2.layernorm_before.weight is missing"),
    ({"num_hidden_layers": 1}, "encoder.layer.1.* is not known"),
    ({"num_hidden_layers": 10**9}, "layers"),
    ({"num_hidden_layers": "many"}, "depth"),
    ({"num_attention_heads": 3}, "not divisible by 3 heads"),
    ({"image_size": 20}, "not divisible by the patch size"),
    ({"hidden_act": "relu"}, "activation 'relu'"),
    ({"hidden_act": []}, "activation \\[\\]"),
    ({"layer_norm_eps": float("nan")}, "norm_eps"),
    ({"model_type": "swin"}, "model type 'swin'.*Known: vit, deit, dinov2"),
    ({"model_type": "siglip_vision_model"}, "embeddings.patch_embedding.weight is missing"),
])
def test_settings_that_do_not_fit_the_weights(tmp_path: Path, change: dict[str, Any], said: str) -> None:
    save_peer("vit", tmp_path)
    settings = json.loads((tmp_path / "config.json").read_text()) | change
    (tmp_path / "config.json").write_text(json.dumps(settings))
    with pytest.raises(BundleError, match=said):
        weights.load(tmp_path)


def test_settings_that_are_left_out_are_as_in_their_code(tmp_path: Path) -> None:
    save_peer("vit", tmp_path)
    settings = json.loads((tmp_path / "config.json").read_text())
    usual = {name: settings.pop(name) for name in ("layer_norm_eps", "qkv_bias", "num_channels", "hidden_act")}
    assert usual == {"layer_norm_eps": 1e-12, "qkv_bias": True, "num_channels": 3, "hidden_act": "gelu"}
    before = weights.load(tmp_path).model.config
    (tmp_path / "config.json").write_text(json.dumps(settings))
    assert weights.load(tmp_path).model.config == before


@pytest.mark.parametrize("name", ["vit features", "dinov2", "mae", "clip", "siglip"])
@pytest.mark.parametrize("extra", ["gate.weight", "pooler.gate.weight", "encoder.layer.0.mask_token"])
def test_only_named_keys_are_left_out(tmp_path: Path, name: str, extra: str) -> None:
    save_peer(name, tmp_path)
    held = load_file(tmp_path / "model.safetensors") | {extra: torch.zeros(3)}
    save_file(held, tmp_path / "model.safetensors")
    with pytest.raises(BundleError, match=f"{extra} is not known"):
        weights.load(tmp_path)


@pytest.mark.parametrize(("name", "called"), [
    ("vit features", "pooler"), ("dinov2", "mask token"), ("mae", "decoder"), ("clip", "text tower"),
    ("siglip", "text tower")])
def test_what_is_left_out_is_said(tmp_path: Path, name: str, called: str) -> None:
    save_peer(name, tmp_path)
    note, *_ = weights.load(tmp_path).provenance["notes"]
    assert note.startswith("Not read: ")
    assert called in note
