"""Folders of BEiT and data2vec: the answers of `transformers`, with every table drawn at random."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
import transformers as peers
from published import assert_agree
from safetensors.torch import load_file, save_file
from torch import Tensor

from huggingface.peers import drawn, pictures
from vitrail import weights
from vitrail.bundle import Bundle
from vitrail.data.preprocess import Preprocess
from vitrail.errors import BundleError
from vitrail.inspection import record

SIZES: dict[str, Any] = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 24,
                         "image_size": 24, "patch_size": 8, "num_labels": 5, "use_mask_token": True}
OWN, SHARED = {"use_relative_position_bias": True}, {"use_shared_relative_position_bias": True}
ABSOLUTE, TOKEN = {"use_absolute_position_embeddings": True}, {"use_mean_pooling": False}
Classifier, Config = peers.BeitForImageClassification, peers.BeitConfig

PEERS: dict[str, tuple[Any, Any, dict[str, Any]]] = {
    "bias in every layer": (Classifier, Config, OWN),
    "one bias for all": (Classifier, Config, SHARED | {"layer_norm_eps": 1e-3}),
    "class token": (Classifier, Config, OWN | TOKEN),
    "absolute": (Classifier, Config, ABSOLUTE),
    "absolute, class token": (Classifier, Config, ABSOLUTE | TOKEN),
    "no positions, no scale": (Classifier, Config, {"layer_scale_init_value": 0.0}),
    "features": (peers.BeitModel, Config, OWN),
    "features, class token": (peers.BeitModel, Config, SHARED | TOKEN),
    "pre-training": (peers.BeitForMaskedImageModeling, Config, SHARED | {"vocab_size": 7}),
    "data2vec": (peers.Data2VecVisionForImageClassification, peers.Data2VecVisionConfig, OWN),
    "data2vec features": (peers.Data2VecVisionModel, peers.Data2VecVisionConfig, SHARED),
}
each_peer = pytest.mark.parametrize("saved", PEERS, indirect=True)


def peer_of(name: str) -> Any:
    build, configure, fields = PEERS[name]
    return drawn(build(configure(**SIZES | fields)), std=0.5)


@pytest.fixture
def saved(tmp_path: Path, request: pytest.FixtureRequest) -> tuple[Any, Path]:
    peer = peer_of(request.param)
    peer.save_pretrained(tmp_path / "peer")
    return peer, tmp_path / "peer"


def answers(peer: Any, images: Tensor) -> Tensor:
    """Logits, or what stands before them."""
    if isinstance(peer, peers.BeitForMaskedImageModeling):
        return peer.layernorm(peer.beit(images).last_hidden_state)[:, 1:].mean(1)
    said = peer(images)
    if isinstance(peer, peers.Data2VecVisionModel):  # its pooling is no part of the file
        return F.layer_norm(said.last_hidden_state[:, 1:].mean(1), (16,), eps=peer.config.layer_norm_eps)
    return said.logits if hasattr(said, "logits") else said.pooler_output


@each_peer
@torch.inference_mode()
def test_their_numbers(saved: tuple[Any, Path]) -> None:
    peer, folder = saved
    assert_agree(weights.load(folder).model(pictures(24, 24)), answers(peer, pictures(24, 24)))


@each_peer
@pytest.mark.parametrize("size", [(40, 40), (16, 40), (8, 8)])
@torch.inference_mode()
def test_their_numbers_at_another_image_size(saved: tuple[Any, Path], size: tuple[int, int]) -> None:
    peer, folder = saved
    expected = answers(peer, pictures(*size))
    assert_agree(weights.load(folder).model(pictures(*size)), expected)
    resized = weights.load(folder, image_size=size)
    assert_agree(resized.model(pictures(*size)), expected)
    assert resized.model.config.image_size == resized.preprocess.size == size


@pytest.mark.parametrize("saved", ["bias in every layer", "one bias for all"], indirect=True)
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


@pytest.mark.parametrize("saved", ["bias in every layer"], indirect=True)
@torch.inference_mode()
def test_the_rule_between_grids_matters(saved: tuple[Any, Path]) -> None:
    """Otherwise agreement at another size would prove nothing."""
    peer, folder = saved
    model = weights.load(folder).model
    for table in model.encoder.positions.tables:
        table.rule = "bilinear-corners"
    expected = answers(peer, pictures(16, 40))
    assert float((model(pictures(16, 40)) - expected).abs().max()) > 1e-3 * float(expected.abs().max())


@pytest.mark.parametrize("saved", ["features", "data2vec features", "pre-training"], indirect=True)
def test_what_a_file_does_not_hold_is_said(saved: tuple[Any, Path]) -> None:
    peer, folder = saved
    bundle = weights.load(folder)
    notes = " ".join(bundle.provenance["notes"])
    assert ("it starts as the identity" in notes) == (peer.config.model_type == "data2vec-vision")
    assert ("which names visual words" in notes) == hasattr(peer, "lm_head")
    assert "the mask token of pre-training" in notes
    assert bundle.model.config.classes == 0


@pytest.mark.parametrize("saved", ["bias in every layer"], indirect=True)
def test_older_files_carry_their_index_along(saved: tuple[Any, Path]) -> None:
    _, folder = saved
    file = folder / "model.safetensors"
    tensors = load_file(file)
    name = "beit.encoder.layer.0.attention.attention.relative_position_bias.relative_position_index"
    plain = weights.load(folder).model(pictures(24, 24))
    save_file(tensors | {name: torch.zeros(10, 10, dtype=torch.int64)}, file)
    assert torch.equal(weights.load(folder).model(pictures(24, 24)), plain)
    file.unlink()
    torch.save(tensors | {name: torch.zeros(10, 10, dtype=torch.int64)}, folder / "pytorch_model.bin")
    with pytest.raises(BundleError, match="is a pickle"):
        weights.load(folder)
    assert torch.equal(weights.load(folder / "pytorch_model.bin", pickles=True).model(pictures(24, 24)), plain)


@pytest.mark.parametrize("saved", ["bias in every layer"], indirect=True)
def test_a_bundle_keeps_it_and_published_formats_refuse_it(saved: tuple[Any, Path], tmp_path: Path) -> None:
    _, folder = saved
    bundle = weights.load(folder)
    assert bundle.preprocess == Preprocess(size=24, mean=(0.5,) * 3, std=(0.5,) * 3)
    bundle.save(tmp_path / "ours")
    with torch.inference_mode():
        again = Bundle.load(tmp_path / "ours").model(pictures(40, 24))
        assert torch.equal(again, bundle.model(pictures(40, 24)))
    for name in ("huggingface", "timm", "official", "big_vision"):
        with pytest.raises(BundleError, match="relative-bias"):
            weights.write(bundle, tmp_path / name, name)


@pytest.mark.parametrize(("change", "said"), [
    (SHARED, "several kinds"),
    ({"use_relative_position_bias": False}, "relative_position_bias_table is not known"),
    ({"use_mean_pooling": False}, "beit.layernorm.weight is missing"),
    ({"image_size": 32}, "is \\(28, 2\\), not \\(52, 2\\)"),
    ({"image_size": 8 * 10**9}, "is \\(28, 2\\), not \\(3999999996000000004, 2\\)"),
    ({"image_size": "large"}, "image_size"),
    ({"patch_size": "large"}, "patch"),
    ({"num_hidden_layers": 10**9}, "layers"),
    ({"num_hidden_layers": 3}, "encoder.layer.2.* is missing"),
    ({"layer_scale_init_value": "small"}, "layer_scale"),
    ({"layer_scale_init_value": float("nan")}, "layer_scale"),
    ({"layer_norm_eps": [1]}, "norm_eps"),
    ({"hidden_size": None}, "width"),
    ({"intermediate_size": -1}, "mlp"),
    ({"hidden_act": "relu"}, "activation 'relu'"),
])
def test_settings_that_do_not_fit_the_weights(tmp_path: Path, change: dict[str, Any], said: str) -> None:
    peer_of("bias in every layer").save_pretrained(tmp_path)
    settings = json.loads((tmp_path / "config.json").read_text()) | change
    (tmp_path / "config.json").write_text(json.dumps(settings))
    (tmp_path / "preprocessor_config.json").write_text('{"size": 24}')
    with pytest.raises(BundleError, match=said):
        weights.load(tmp_path)
