"""Folders of DINOv3's ViT: the features of `transformers`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers as peers
from published import assert_agree

from huggingface.peers import drawn, pictures
from vitrail import weights
from vitrail.data.preprocess import Preprocess
from vitrail.errors import BundleError
from vitrail.inspection import record

SIZES: dict[str, Any] = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 24,
                         "image_size": 24, "patch_size": 8}
GATED = {"use_gated_mlp": True, "hidden_act": "silu"}

PEERS: dict[str, dict[str, Any]] = {
    "plain": {"num_register_tokens": 3},
    "gated": {"num_register_tokens": 4} | GATED,
    "no biases": GATED | {"query_bias": False, "value_bias": False},
    "all biases": {"key_bias": True, "layer_norm_eps": 1e-3, "rope_theta": 30.0},
}
each_peer = pytest.mark.parametrize("saved", PEERS, indirect=True)


def peer_of(name: str) -> Any:
    return drawn(peers.DINOv3ViTModel(peers.DINOv3ViTConfig(**SIZES | PEERS[name])))


@pytest.fixture
def saved(tmp_path: Path, request: pytest.FixtureRequest) -> tuple[Any, Path]:
    peer = peer_of(request.param)
    peer.save_pretrained(tmp_path / "peer")
    return peer, tmp_path / "peer"


@each_peer
@pytest.mark.parametrize("size", [(24, 24), (16, 40), (8, 8)])
@torch.inference_mode()
def test_their_numbers_at_any_image_size(saved: tuple[Any, Path], size: tuple[int, int]) -> None:
    peer, folder = saved
    images = pictures(*size)
    expected = peer(images)
    model = weights.load(folder).model
    assert_agree(model(images), expected.pooler_output)
    assert_agree(model.encode(images), expected.last_hidden_state)
    resized = weights.load(folder, image_size=size)
    assert_agree(resized.model(images), expected.pooler_output)
    assert resized.model.config.image_size == resized.preprocess.size == size


@pytest.mark.parametrize("saved", ["plain"], indirect=True)
@torch.inference_mode()
def test_the_attention_that_inspection_sees_is_theirs(saved: tuple[Any, Path]) -> None:
    peer, folder = saved
    model = weights.load(folder).model
    peer.set_attn_implementation("eager")
    expected = peer(pictures(16, 40), output_attentions=True).attentions
    with record(model) as trace:
        model(pictures(16, 40))
    for recorded, theirs in zip(trace.values(), expected, strict=True):
        assert_agree(recorded.weights(), theirs)


@pytest.mark.parametrize("saved", ["gated"], indirect=True)
def test_it_is_read_as_what_it_is(saved: tuple[Any, Path], tmp_path: Path) -> None:
    _, folder = saved
    bundle = weights.load(folder)
    config = bundle.model.config
    assert (config.positions, config.rotary_unit, config.registers, config.feedforward) == (
        "rotary-2d", "grid", 4, "swiglu")
    assert (config.norm_eps, config.pooling, config.classes) == (1e-5, "token", 0)
    assert bundle.preprocess == Preprocess(size=24, mean=(0.485, 0.456, 0.406), std=(0.229, 0.224, 0.225))
    assert not bundle.model.encoder.blocks[0].attention.qkv.bias[16:32].any()
    for name in ("huggingface", "timm", "official", "big_vision"):
        with pytest.raises(BundleError, match="rotary"):
            weights.write(bundle, tmp_path / name, name)


@pytest.mark.parametrize(("change", "said"), [
    ({"use_gated_mlp": True, "hidden_act": "silu"}, "gate_proj.* is missing"),
    ({"use_gated_mlp": True}, "activation 'gelu'"),
    ({"hidden_act": "silu"}, "activation 'silu'"),
    ({"key_bias": True}, "k_proj.bias is missing"),
    ({"value_bias": False}, "v_proj.bias is not known"),
    ({"num_register_tokens": 2}, "is \\(1, 3, 16\\), not \\(1, 2, 16\\)"),
    ({"num_register_tokens": 10**12}, "register_tokens"),
    ({"num_register_tokens": "some"}, "registers"),
    ({"num_attention_heads": 8}, "head width divisible by 4"),
    ({"rope_theta": float("nan")}, "rotary_base"),
    ({"rope_theta": 0.0}, "rotary_base"),
    ({"layerscale_value": "one"}, "layer_scale"),
    ({"num_hidden_layers": 10**9}, "layers"),
    ({"image_size": 20}, "not divisible by the patch size"),
])
def test_settings_that_do_not_fit_the_weights(tmp_path: Path, change: dict[str, Any], said: str) -> None:
    peer_of("plain").save_pretrained(tmp_path)
    settings = json.loads((tmp_path / "config.json").read_text()) | change
    (tmp_path / "config.json").write_text(json.dumps(settings))
    with pytest.raises(BundleError, match=said):
        weights.load(tmp_path)
