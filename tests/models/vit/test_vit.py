"""The whole model: the official numbers, `transformers` with the same weights, any subset of patches."""

from __future__ import annotations

import json
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode
from transformers import ViTConfig as PeerConfig
from transformers import ViTForImageClassification

from models.official import GOLDEN, reference
from models.small import EVERY_POSITION, awake, pictures, small, tokens_on
from vitrail.models import ViT, configure
from vitrail.models.vit.patches import lecun_normal_
from vitrail.models.vit.positions.learned import Learned
from vitrail.vocabulary import Tokens

CASES = ["vit_token", "vit_token_prelogits", "vit_gap_linen_names", "big_vision_gap_sincos", "big_vision_map"]


def assert_agree(ours: Tensor, theirs: Tensor, relative: float = 1e-5) -> None:
    assert ours.shape == theirs.shape
    assert float((ours - theirs).abs().max()) <= relative * float(theirs.abs().max())


@pytest.mark.parametrize("name", CASES)
@torch.inference_mode()
def test_official_numbers(name: str) -> None:
    model, values = reference(name)
    images = values["images"]
    assert_agree(model(images), values["logits"])
    assert_agree(model.embed(images), values["pre_logits"])
    if "encoded" in values:
        assert_agree(model.encode(images), values["encoded"])


@pytest.mark.parametrize("name", CASES)
def test_official_number_of_parameters(name: str) -> None:
    model, _ = reference(name)
    given = json.loads((GOLDEN / f"{name}.json").read_text())
    assert sum(parameter.numel() for parameter in model.parameters()) == given["parameters"]


@pytest.mark.parametrize("name", ["vit_token", "vit_gap_linen_names"])
@torch.inference_mode()
def test_official_numbers_at_another_image_size(name: str) -> None:
    model, values = reference(name)
    images, expected = values["images_resized"], values["pos_embedding_resized"][0]
    table = model.encoder.positions.tables[0]
    assert isinstance(table, Learned)
    resized = table.on_grid(model.patchify.grid(images)).flatten(0, 1)
    assert_agree(torch.cat((table.class_position, resized)), expected)
    assert_agree(model(images), values["logits_resized"])


# The same weights in another implementation.


def peer_of(model: ViT) -> ViTForImageClassification:
    config = model.config
    peer = ViTForImageClassification(PeerConfig(
        hidden_size=config.width, num_hidden_layers=config.depth, num_attention_heads=config.heads,
        intermediate_size=config.mlp, hidden_act="gelu", layer_norm_eps=config.norm_eps,
        hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0, image_size=config.image_size,
        patch_size=config.patch[0], num_labels=config.classes, qkv_bias=config.qkv_bias,
    )).eval()
    ours, theirs = model.state_dict(), peer.state_dict()
    renamed = {
        "vit.embeddings.cls_token": ours["prefix.class_token"][None],
        "vit.embeddings.position_embeddings": torch.cat(
            [ours[f"encoder.positions.tables.0.{part}"] for part in ("class_position", "table")])[None],
        "vit.embeddings.patch_embeddings.projection.weight": ours["patchify.weight"],
        "vit.embeddings.patch_embeddings.projection.bias": ours["patchify.bias"],
        "vit.layernorm.weight": ours["norm.weight"], "vit.layernorm.bias": ours["norm.bias"],
        "classifier.weight": ours["head.weight"], "classifier.bias": ours["head.bias"],
    }
    layers = {  # their name in a block of each layer of ours; releases of transformers differ
        "norm1": ("layernorm_before",), "norm2": ("layernorm_after",),
        "attention.out": ("attention.output.dense", "attention.o_proj"),
        "feed_forward.expand": ("intermediate.dense", "mlp.fc1"), "feed_forward.contract": ("output.dense", "mlp.fc2"),
    }
    queries = (("attention.attention.query", "attention.q_proj"), ("attention.attention.key", "attention.k_proj"),
               ("attention.attention.value", "attention.v_proj"))
    stem = "vit.encoder.layer" if any(name.startswith("vit.encoder.layer.") for name in theirs) else "vit.layers"
    for layer in range(config.depth):
        there, here = f"{stem}.{layer}.", f"encoder.blocks.{layer}."
        for kind in ("weight", "bias"):
            for mine, names in layers.items():
                renamed[known(theirs, there, names, kind)] = ours[f"{here}{mine}.{kind}"]
            if f"{here}attention.qkv.{kind}" in ours:
                for names, part in zip(queries, ours[f"{here}attention.qkv.{kind}"].chunk(3), strict=True):
                    renamed[known(theirs, there, names, kind)] = part
    peer.load_state_dict(renamed)
    return peer


def known(theirs: dict[str, Tensor], prefix: str, names: tuple[str, ...], kind: str) -> str:
    return next(f"{prefix}{name}.{kind}" for name in names if f"{prefix}{name}.{kind}" in theirs)


@pytest.mark.parametrize("fields", [{}, {"image_size": (40, 16)}, {"qkv_bias": False}], ids=str)
@torch.inference_mode()
def test_transformers_with_the_same_weights(fields: dict[str, Any]) -> None:
    config = small(**{"image_size": 32, "patch": 8, "width": 32, "depth": 3, "heads": 4, "mlp": 48,
                      "feedforward": "gelu", "norm_eps": 1e-12} | fields)
    model = awake(config, std=0.1)
    images = pictures(config, 3)
    seen: list[Tensor] = []
    hooks = [block.register_forward_hook(lambda part, given, result: seen.append(result))
             for block in model.encoder.blocks]
    logits = model(images)
    for hook in hooks:
        hook.remove()
    theirs = peer_of(model)(images, output_hidden_states=True)
    assert_agree(logits, theirs.logits)
    assert len(theirs.hidden_states) == config.depth + 1
    for ours, expected in zip(seen[:-1], theirs.hidden_states[1:-1], strict=True):
        assert_agree(ours, expected)


# Tokens know their places.


@pytest.mark.parametrize(("kind", "place"), EVERY_POSITION)
@torch.inference_mode()
def test_patches_in_another_order_give_the_same_answers_in_that_order(kind: str, place: str) -> None:
    config = small(positions=kind, positions_at=place, registers=1)
    model = awake(config)
    tokens = model.patchify(pictures(config))
    order = torch.randperm(config.patches, generator=torch.Generator().manual_seed(3))
    plain = model.encode_tokens(tokens)
    mixed = model.encode_tokens(Tokens(tokens.values[:, order], tokens.places[order], tokens.grid))
    assert_agree(mixed[:, config.prefix :], plain[:, config.prefix :][:, order])
    assert_agree(mixed[:, : config.prefix], plain[:, : config.prefix])


@pytest.mark.parametrize(("kind", "place"), EVERY_POSITION)
@torch.inference_mode()
def test_every_image_may_keep_patches_of_its_own(kind: str, place: str) -> None:
    config = small(positions=kind, positions_at=place, registers=1)
    model = awake(config)
    tokens = model.patchify(pictures(config))
    kept = torch.tensor([[0, 5, 11, 2], [7, 1, 3, 4]])
    values = tokens.values.gather(1, kept[..., None].expand(-1, -1, config.width))
    together = model.encode_tokens(Tokens(values, tokens.places[kept], tokens.grid))
    assert together.shape == (2, config.prefix + 4, config.width)
    for image in range(2):
        alone = Tokens(values[image : image + 1], tokens.places[kept[image]], tokens.grid)
        assert_agree(together[image : image + 1], model.encode_tokens(alone))


@pytest.mark.parametrize(("kind", "place"), EVERY_POSITION)
@torch.inference_mode()
def test_places_matter_unless_there_are_none(kind: str, place: str) -> None:
    config = small(positions=kind, positions_at=place)
    model = awake(config)
    tokens = model.patchify(pictures(config))
    moved = model.encode_tokens(Tokens(tokens.values, tokens.places.flip(0), tokens.grid))
    same = torch.allclose(moved, model.encode_tokens(tokens), atol=1e-4)
    assert same == (kind == "none")


@pytest.mark.parametrize(("kind", "place"), EVERY_POSITION)
@pytest.mark.parametrize("size", [(48, 16), (16, 36), (8, 4)])
@torch.inference_mode()
def test_any_image_size(kind: str, place: str, size: tuple[int, int]) -> None:
    config = small(positions=kind, positions_at=place, registers=2)
    model = awake(config)
    assert model(pictures(config.at_size(size))).isfinite().all()
    assert model.feature_map(pictures(config.at_size(size))).shape == (2, config.width, size[0] // 8, size[1] // 4)


@torch.inference_mode()
def test_the_feature_map_holds_each_patch_at_its_place() -> None:
    config = small(registers=2)
    model, images = awake(config), pictures(config)
    features, encoded = model.feature_map(images), model.encode(images)
    assert features.shape == (2, config.width, 3, 4)
    assert torch.equal(features[:, :, 1, 2], encoded[:, config.prefix + 1 * 4 + 2])


@torch.inference_mode()
def test_forward_is_the_head_of_embed() -> None:
    config = small(head_hidden=6)
    model, images = awake(config), pictures(config)
    assert model.embed(images).shape == (2, 6)
    assert torch.equal(model(images), model.head(model.embed(images)))


# How weights start (paper.md, section 3.4).


def test_weights_start_as_in_the_official_code() -> None:
    torch.manual_seed(0)
    config = configure("Ti/16", classes=7, depth=2, head_hidden=96, head_bias=-10.0, registers=64, layer_scale=0.1,
                       image_size=224)
    model = ViT(config)
    parameters = {name: parameter.detach() for name, parameter in model.named_parameters()}
    assert not parameters["prefix.class_token"].any()
    assert not parameters["head.weight"].any()
    assert parameters["head.bias"].eq(-10).all()
    for name in ("patchify.bias", "hidden.linear.bias", "norm.bias"):
        assert not parameters[name].any()
    for name, expected in {"encoder.positions.tables.0.table": 0.02, "prefix.registers": 0.02,
                           "patchify.weight": (3 * 16 * 16) ** -0.5, "hidden.linear.weight": 192**-0.5}.items():
        assert float(parameters[name].std()) == pytest.approx(expected, rel=0.03), name
        assert abs(float(parameters[name].mean())) < 0.1 * expected, name
    for block in range(2):
        assert_block_starts(parameters, f"encoder.blocks.{block}.", config.width, config.mlp)
    assert parameters["encoder.blocks.1.branch2.scale"].eq(0.1).all()


def assert_block_starts(parameters: dict[str, Tensor], block: str, width: int, mlp: int) -> None:
    for part in parameters[block + "attention.qkv.weight"].chunk(3):
        assert_uniform(part, (6 / (width + width)) ** 0.5)
    assert_uniform(parameters[block + "attention.out.weight"], (6 / (width + width)) ** 0.5)
    for name in ("expand", "contract"):
        assert_uniform(parameters[f"{block}feed_forward.{name}.weight"], (6 / (width + mlp)) ** 0.5)
        assert float(parameters[f"{block}feed_forward.{name}.bias"].std()) == pytest.approx(1e-6, rel=0.2)
    for name in ("attention.qkv", "attention.out"):
        assert not parameters[block + name + ".bias"].any()
    for norm in ("norm1", "norm2"):
        assert parameters[f"{block}{norm}.weight"].eq(1).all()
        assert not parameters[f"{block}{norm}.bias"].any()


def assert_uniform(weight: Tensor, bound: float) -> None:
    assert float(weight.abs().max()) <= bound
    assert float(weight.abs().max()) > 0.99 * bound
    assert float(weight.std()) == pytest.approx(bound / 3**0.5, rel=0.02)


def test_attention_pooling_starts_as_in_big_vision() -> None:
    torch.manual_seed(0)
    pool = ViT(configure("Ti/16", depth=1, pooling="attention")).pool
    for weight in (pool.query.weight, *pool.key_value.weight.chunk(2), pool.out.weight):
        assert_uniform(weight.detach(), (6 / (192 + 192)) ** 0.5)


def test_lecun_normal_is_cut_at_two_deviations() -> None:
    torch.manual_seed(0)
    weight = torch.empty(400, 400)
    lecun_normal_(weight, fan_in=25)
    assert float(weight.std()) == pytest.approx(0.2, rel=0.01)
    assert float(weight.abs().max()) <= 2 * 0.2 / 0.8796 + 1e-6


def test_the_first_answer_is_the_bias() -> None:
    config = small(head_bias=-10.0)
    model = ViT(config).eval()
    assert model(pictures(config)).eq(-10).all()


def test_the_same_seed_gives_the_same_weights() -> None:
    models = []
    for _ in range(2):
        torch.manual_seed(7)
        models.append(ViT(small()))
    for first, second in zip(*(model.parameters() for model in models), strict=True):
        assert torch.equal(first, second)


def test_tokens_on_a_grid_are_in_reading_order() -> None:
    assert tokens_on((2, 3), 4).places.tolist() == [[0, 0], [0, 1], [0, 2], [1, 0], [1, 1], [1, 2]]


@pytest.mark.parametrize(("kind", "place"), EVERY_POSITION)
@pytest.mark.parametrize("pooling", ["token", "distilled"])
@torch.inference_mode()
def test_the_last_block_computes_only_what_is_read(kind: str, place: str, pooling: str) -> None:
    """The same answer as from all tokens, and less work: that of the last block's other tokens."""
    config = small(positions=kind, positions_at=place, pooling=pooling, registers=1, qkv_bias=kind != "learned")
    model, images = awake(config), pictures(config)
    with FlopCounterMode(display=False) as few:
        embedded = model.embed(images)
    with FlopCounterMode(display=False) as all_:
        whole = model.pool_norm(model.pool(model.encode(images)))
    torch.testing.assert_close(embedded, whole, atol=1e-5, rtol=1e-5)
    saved = (config.tokens - config.class_tokens) * (config.width**2 + 2 * config.width * config.mlp)
    assert all_.get_total_flops() - few.get_total_flops() >= 2 * len(images) * saved
