"""Models of `transformers` at small sizes, with weights that leave nothing asleep, and what they answer."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import torch
import transformers as peers
from torch import Tensor

SIZES: dict[str, Any] = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "image_size": 24,
                         "patch_size": 8}
VIT = SIZES | {"intermediate_size": 24, "num_labels": 5}
DINO = SIZES | {"mlp_ratio": 2, "num_labels": 5, "layerscale_value": 0.5}
TOWER = SIZES | {"intermediate_size": 24}
TEXT = {"hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 8, "vocab_size": 11,
        "max_position_embeddings": 5}
NAFLEX = {name: value for name, value in TOWER.items() if name != "image_size"} | {"num_patches": 9}
MAE = TOWER | {"mask_ratio": 0.0, "decoder_hidden_size": 8, "decoder_num_hidden_layers": 1,
               "decoder_num_attention_heads": 2, "decoder_intermediate_size": 8}


def logits(peer: Any, images: Tensor) -> Tensor:
    return peer(images, interpolate_pos_encoding=True).logits


def class_token(peer: Any, images: Tensor) -> Tensor:
    return peer(images, interpolate_pos_encoding=True).last_hidden_state[:, 0]


def plain_logits(peer: Any, images: Tensor) -> Tensor:
    return peer(images).logits


def plain_token(peer: Any, images: Tensor) -> Tensor:
    return peer(images).last_hidden_state[:, 0]


def pooled(peer: Any, images: Tensor) -> Tensor:
    return peer(images, interpolate_pos_encoding=True).pooler_output


def projected(peer: Any, images: Tensor) -> Tensor:
    return peer(images, interpolate_pos_encoding=True).image_embeds


def image_features(peer: Any, images: Tensor) -> Tensor:
    return peer.get_image_features(images, interpolate_pos_encoding=True).pooler_output


def mean_of_patches(peer: Any, images: Tensor) -> Tensor:
    return peer(images, interpolate_pos_encoding=True).last_hidden_state.mean(1)


def unmasked(peer: Any, images: Tensor) -> Tensor:
    """The class token of MAE's encoder, which sees all patches in their order."""
    encoder = getattr(peer, "vit", peer)
    order = torch.arange(images.shape[-2] * images.shape[-1] // 64).expand(len(images), -1).float()
    return encoder(images, noise=order, interpolate_pos_encoding=True).last_hidden_state[:, 0]


def listed(images: Tensor, patch: int = 8) -> dict[str, Tensor]:
    """As SigLIP 2's processor hands pictures over: [batch, patches, pixels of a patch], and the grid of each."""
    rows, columns = images.shape[-2] // patch, images.shape[-1] // patch
    cut = images.unflatten(3, (columns, patch)).unflatten(2, (rows, patch)).permute(0, 2, 4, 3, 5, 1)
    return {"pixel_values": cut.flatten(3).flatten(1, 2),
            "pixel_attention_mask": torch.ones(len(images), rows * columns),
            "spatial_shapes": torch.tensor([[rows, columns]] * len(images))}


def of_list(peer: Any, images: Tensor) -> Tensor:
    return peer(**listed(images)).pooler_output


def features_of_list(peer: Any, images: Tensor) -> Tensor:
    return peer.get_image_features(**listed(images)).pooler_output


def logits_of_list(peer: Any, images: Tensor) -> Tensor:
    return peer(**listed(images)).logits


class Peer(NamedTuple):
    build: Any
    configure: Any
    fields: dict[str, Any]
    answers: Callable[[Any, Tensor], Tensor]


def two_towers(configure: Any, vision: dict[str, Any], **fields: Any) -> Callable[..., Any]:
    return lambda: configure(vision_config=vision, text_config=TEXT, **fields)


PEERS: dict[str, Peer] = {
    "vit": Peer(peers.ViTForImageClassification, peers.ViTConfig, VIT, logits),
    "vit, tanh, no bias, epsilon": Peer(
        peers.ViTForImageClassification, peers.ViTConfig,
        VIT | {"hidden_act": "gelu_pytorch_tanh", "qkv_bias": False, "layer_norm_eps": 1e-3}, logits),
    "vit features": Peer(peers.ViTModel, peers.ViTConfig, VIT, class_token),
    "dino": Peer(lambda config: peers.ViTModel(config, add_pooling_layer=False), peers.ViTConfig, VIT, class_token),
    "deit": Peer(peers.DeiTForImageClassificationWithTeacher, peers.DeiTConfig, VIT, logits),
    "deit, one head": Peer(peers.DeiTForImageClassification, peers.DeiTConfig, VIT, logits),
    "deit features": Peer(peers.DeiTModel, peers.DeiTConfig, VIT, class_token),
    "dinov2": Peer(peers.Dinov2ForImageClassification, peers.Dinov2Config, DINO, plain_logits),
    "dinov2, gated": Peer(peers.Dinov2ForImageClassification, peers.Dinov2Config, DINO | {"use_swiglu_ffn": True},
                          plain_logits),
    "dinov2 features": Peer(peers.Dinov2Model, peers.Dinov2Config, DINO, plain_token),
    "dinov2, registers": Peer(peers.Dinov2WithRegistersForImageClassification, peers.Dinov2WithRegistersConfig,
                              DINO | {"num_register_tokens": 3}, plain_logits),
    "dinov2, registers, features": Peer(peers.Dinov2WithRegistersModel, peers.Dinov2WithRegistersConfig,
                                        DINO | {"num_register_tokens": 3, "use_swiglu_ffn": True}, plain_token),
    "dinov3": Peer(peers.DINOv3ViTModel, peers.DINOv3ViTConfig, TOWER | {"num_register_tokens": 3}, plain_token),
    "beit": Peer(peers.BeitForImageClassification, peers.BeitConfig,
                 VIT | {"use_relative_position_bias": True, "use_mask_token": True}, plain_logits),
    "data2vec": Peer(peers.Data2VecVisionForImageClassification, peers.Data2VecVisionConfig,
                     VIT | {"use_shared_relative_position_bias": True}, plain_logits),
    "mae": Peer(peers.ViTMAEForPreTraining, peers.ViTMAEConfig, MAE, unmasked),
    "mae encoder": Peer(peers.ViTMAEModel, peers.ViTMAEConfig, MAE, unmasked),
    "clip": Peer(peers.CLIPModel, two_towers(peers.CLIPConfig, TOWER, projection_dim=6), {}, image_features),
    "clip tower": Peer(peers.CLIPVisionModel, peers.CLIPVisionConfig, TOWER, pooled),
    "clip tower, projected": Peer(peers.CLIPVisionModelWithProjection, peers.CLIPVisionConfig,
                                  TOWER | {"projection_dim": 6, "hidden_act": "gelu"}, projected),
    "siglip": Peer(peers.SiglipModel, two_towers(peers.SiglipConfig, TOWER), {}, image_features),
    "siglip classifier": Peer(peers.SiglipForImageClassification,
                              two_towers(peers.SiglipConfig, TOWER, num_labels=5), {}, logits),
    "siglip tower": Peer(peers.SiglipVisionModel, peers.SiglipVisionConfig, TOWER, pooled),
    "siglip tower without pooling": Peer(peers.SiglipVisionModel, peers.SiglipVisionConfig,
                                         TOWER | {"vision_use_head": False}, mean_of_patches),
    "siglip 2": Peer(peers.Siglip2Model, two_towers(peers.Siglip2Config, NAFLEX), {}, features_of_list),
    "siglip 2 classifier": Peer(peers.Siglip2ForImageClassification,
                                two_towers(peers.Siglip2Config, NAFLEX, num_labels=5), {}, logits_of_list),
    "siglip 2 tower": Peer(peers.Siglip2VisionModel, peers.Siglip2VisionConfig, NAFLEX, of_list),
}
WRITTEN = [name for name in PEERS if name.startswith(("vit", "dinov2"))]


def drawn(peer: Any, std: float = 0.3) -> Any:
    """Every parameter at random: also those that start from zero or one."""
    torch.manual_seed(0)
    with torch.no_grad():
        for parameter in peer.parameters():
            parameter.normal_(std=std)
    return peer.eval()


def peer_of(name: str) -> Any:
    build, configure, fields, _ = PEERS[name]
    return drawn(build(configure(**fields)))


def save_peer(name: str, folder: Path) -> Any:
    peer = peer_of(name)
    peer.save_pretrained(folder)
    return peer


def answers(name: str, peer: Any, images: Tensor) -> Tensor:
    with torch.inference_mode():
        return PEERS[name].answers(peer, images)


def pictures(*size: int) -> Tensor:
    return torch.randn(2, 3, *size, generator=torch.Generator().manual_seed(1))
