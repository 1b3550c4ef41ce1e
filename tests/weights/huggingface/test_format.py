"""Folders of `transformers`: their models give our numbers, and folders written by us give them theirs."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers as peers
from models.small import awake
from published import assert_agree
from safetensors.torch import load_file
from torch import Tensor

from vitrail import weights
from vitrail.bundle import Bundle
from vitrail.data.preprocess import Preprocess
from vitrail.errors import BundleError
from vitrail.models import ViTConfig

SIZES: dict[str, Any] = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "image_size": 24,
                         "patch_size": 8}
VIT = SIZES | {"intermediate_size": 24, "num_labels": 5}
DINO = SIZES | {"mlp_ratio": 2, "num_labels": 5, "layerscale_value": 0.5}

PEERS = {
    "vit": (peers.ViTForImageClassification, peers.ViTConfig, VIT),
    "vit, tanh, no bias, epsilon": (peers.ViTForImageClassification, peers.ViTConfig,
                                    VIT | {"hidden_act": "gelu_pytorch_tanh", "qkv_bias": False,
                                           "layer_norm_eps": 1e-3}),
    "vit features": (peers.ViTModel, peers.ViTConfig, VIT),
    "deit": (peers.DeiTForImageClassificationWithTeacher, peers.DeiTConfig, VIT),
    "deit, one head": (peers.DeiTForImageClassification, peers.DeiTConfig, VIT),
    "dinov2": (peers.Dinov2ForImageClassification, peers.Dinov2Config, DINO),
    "dinov2, gated": (peers.Dinov2ForImageClassification, peers.Dinov2Config, DINO | {"use_swiglu_ffn": True}),
    "dinov2 features": (peers.Dinov2Model, peers.Dinov2Config, DINO),
    "dinov2, registers": (peers.Dinov2WithRegistersForImageClassification, peers.Dinov2WithRegistersConfig,
                          DINO | {"num_register_tokens": 3}),
    "dinov2, registers, features": (peers.Dinov2WithRegistersModel, peers.Dinov2WithRegistersConfig,
                                    DINO | {"num_register_tokens": 3, "use_swiglu_ffn": True}),
}
WRITTEN = [name for name in PEERS if not name.startswith("deit")]
each_peer = pytest.mark.parametrize("name", PEERS)


def peer_of(name: str) -> Any:
    """Every parameter drawn at random: also those that start from zero or one."""
    build, configure, fields = PEERS[name]
    torch.manual_seed(0)
    peer = build(configure(**fields)).eval()
    with torch.no_grad():
        for parameter in peer.parameters():
            parameter.normal_(std=0.3)
    return peer


@pytest.fixture
def saved(tmp_path: Path, request: pytest.FixtureRequest) -> tuple[Any, Path]:
    peer = peer_of(request.param)
    peer.save_pretrained(tmp_path / "peer")
    return peer, tmp_path / "peer"


def pictures(*size: int) -> Tensor:
    return torch.randn(2, 3, *size, generator=torch.Generator().manual_seed(1))


def answers(peer: Any, images: Tensor) -> Tensor:
    """Logits, or the class token after the last norm where there is no head."""
    resample = {} if "Dinov2" in type(peer).__name__ else {"interpolate_pos_encoding": True}
    said = peer(images, **resample)
    return said.logits if hasattr(said, "logits") else said.last_hidden_state[:, 0]


@pytest.mark.parametrize("saved", PEERS, indirect=True)
@torch.inference_mode()
def test_their_numbers(saved: tuple[Any, Path]) -> None:
    peer, folder = saved
    bundle = weights.load(folder)
    assert_agree(bundle.model(pictures(24, 24)), answers(peer, pictures(24, 24)))


@pytest.mark.parametrize("saved", PEERS, indirect=True)
@pytest.mark.parametrize("size", [(40, 40), (16, 16), (16, 40)])
@torch.inference_mode()
def test_their_numbers_at_another_image_size(saved: tuple[Any, Path], size: tuple[int, int]) -> None:
    peer, folder = saved
    expected = answers(peer, pictures(*size))
    assert_agree(weights.load(folder).model(pictures(*size)), expected)
    resized = weights.load(folder, image_size=size)
    assert_agree(resized.model(pictures(*size)), expected)
    assert resized.model.config.image_size == resized.preprocess.size == size


@pytest.mark.parametrize("saved", ["vit", "dinov2, registers"], indirect=True)
def test_the_file_may_be_named_instead_of_the_folder(saved: tuple[Any, Path]) -> None:
    _, folder = saved
    renamed = (folder / "model.safetensors").rename(folder / "anything")
    assert weights.load(renamed).provenance["format"] == "huggingface"


@pytest.mark.parametrize("saved", WRITTEN, indirect=True)
@torch.inference_mode()
def test_what_we_write_is_theirs_bit_for_bit(saved: tuple[Any, Path], tmp_path: Path) -> None:
    peer, folder = saved
    bundle = weights.load(folder)
    written = weights.write(bundle, tmp_path / "written", "huggingface")
    before, after = load_file(folder / "model.safetensors"), load_file(written / "model.safetensors")
    unused = {key for key in before if "pooler" in key}
    assert before.keys() - unused == after.keys()
    for key, value in after.items():
        assert torch.equal(value, before[key]) or "mask_token" in key, key
    again = type(peer).from_pretrained(written).eval()
    assert_agree(answers(again, pictures(24, 24)), answers(peer, pictures(24, 24)))
    reread = weights.load(written)
    assert reread.model.config == bundle.model.config
    fraction = bundle.preprocess.crop_fraction  # theirs is the shorter side in whole pixels
    assert reread.preprocess.crop_fraction == pytest.approx(fraction, abs=0.02)
    assert reread.preprocess.model_copy(update={"crop_fraction": fraction}) == bundle.preprocess


@torch.inference_mode()
def test_a_model_of_ours_in_their_hands(tmp_path: Path) -> None:
    config = ViTConfig(image_size=24, patch=8, width=16, depth=2, heads=2, mlp=24, classes=3, feedforward="gelu",
                       resampling="bicubic")
    preprocess = Preprocess(size=24, resize="crop", crop_fraction=0.75, interpolation="bicubic", mean=(0.4, 0.5, 0.6))
    ours = Bundle(awake(config), preprocess, ("cat", "dog", "Öl"), activation="sigmoid")
    folder = weights.write(ours, tmp_path / "out", "huggingface")
    theirs = peers.AutoModelForImageClassification.from_pretrained(folder).eval()
    assert_agree(theirs(pictures(24, 24)).logits, ours.model(pictures(24, 24)))
    assert theirs.config.id2label == {0: "cat", 1: "dog", 2: "Öl"}
    read = weights.load(folder)
    assert (read.classes, read.activation, read.preprocess) == (ours.classes, "sigmoid", preprocess)
    assert torch.equal(read.model(pictures(24, 24)), ours.model(pictures(24, 24)))


@pytest.mark.parametrize(("said", "expected"), [
    ({"size": {"height": 32, "width": 24}, "resample": 2}, Preprocess(size=(32, 24))),
    ({"size": 32, "resample": 3}, Preprocess(size=32, interpolation="bicubic")),
    ({"size": {"shortest_edge": 256}, "do_center_crop": True, "crop_size": {"height": 224, "width": 224},
      "resample": 3, "image_mean": [0.485, 0.456, 0.406], "image_std": [0.229, 0.224, 0.225]},
     Preprocess(size=224, resize="crop", crop_fraction=0.875, interpolation="bicubic", mean=(0.485, 0.456, 0.406),
                std=(0.229, 0.224, 0.225))),
    ({"size": {"height": 24, "width": 24}, "do_normalize": False}, Preprocess(size=24, mean=(0, 0, 0), std=(1, 1, 1))),
])
def test_preprocessing_as_the_folder_says(tmp_path: Path, said: dict[str, Any], expected: Preprocess) -> None:
    peer_of("vit").save_pretrained(tmp_path)
    (tmp_path / "preprocessor_config.json").write_text(json.dumps(said))
    bundle = weights.load(tmp_path)
    assert bundle.preprocess == expected
    assert "notes" not in bundle.provenance


@pytest.mark.parametrize(("change", "said"), [
    ({"hidden_size": 32}, "is \\(16, 3, 8, 8\\), not \\(32, 3, 8, 8\\)"),
    ({"num_hidden_layers": 3}, "encoder.layer.2.layernorm_before.weight is missing"),
    ({"num_hidden_layers": 1}, "encoder.layer.1.* is not known"),
    ({"num_hidden_layers": 10**9}, "layers"),
    ({"num_hidden_layers": "many"}, "depth"),
    ({"num_attention_heads": 3}, "not divisible by 3 heads"),
    ({"image_size": 20}, "not divisible by the patch size"),
    ({"hidden_act": "relu"}, "activation 'relu'"),
    ({"layer_norm_eps": float("nan")}, "norm_eps"),
])
def test_settings_that_do_not_fit_the_weights(tmp_path: Path, change: dict[str, Any], said: str) -> None:
    peer_of("vit").save_pretrained(tmp_path)
    settings = json.loads((tmp_path / "config.json").read_text()) | change
    (tmp_path / "config.json").write_text(json.dumps(settings))
    with pytest.raises(BundleError, match=said):
        weights.load(tmp_path)
