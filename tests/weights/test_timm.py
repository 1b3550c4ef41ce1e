"""timm's state dicts, against its forward pass in words: a few lines on the state dict itself, without our model."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from models.small import awake
from published import assert_agree, changed
from safetensors.torch import save_file
from torch import Tensor

from vitrail import weights
from vitrail.bundle import Bundle
from vitrail.data.preprocess import Preprocess
from vitrail.errors import BundleError
from vitrail.models import ViTConfig

WIDTH, MLP, HEADS, CLASSES, GRID = 16, 24, 2, 5, 3
State = dict[str, Tensor]

LAYOUTS: dict[str, dict[str, Any]] = {
    "plain": {},
    "registers outside the table": {"registers": 3, "in_table": False},
    "registers inside the table": {"registers": 3},
    "fc_norm, no class token": {"pool": "avg", "class_token": False, "fc_norm": True},
    "average past a class token": {"pool": "avg", "fc_norm": True, "registers": 2},
    "layer scale": {"layer_scale": True},
    "packed gate": {"gate": "packed", "layer_scale": True},
    "split gate": {"gate": "split"},
    "distilled": {"distilled": True},
    "attention pooling": {"pool": "map", "class_token": False, "in_table": False},
    "norm before the blocks": {"pre_norm": True},
    "no bias, no head": {"qkv_bias": False, "head": False},
}
each_layout = pytest.mark.parametrize("layout", LAYOUTS.values(), ids=LAYOUTS)


def state_of(*, registers: int = 0, in_table: bool = True, pool: str = "token", class_token: bool = True,
             fc_norm: bool = False, layer_scale: bool = False, gate: str = "", distilled: bool = False,
             qkv_bias: bool = True, head: bool = True, pre_norm: bool = False) -> State:
    generator = torch.Generator().manual_seed(0)
    state: State = {}

    def add(name: str, *shape: int) -> None:
        state[name] = torch.randn(*shape, generator=generator) * 0.3

    def linear(name: str, outputs: int, inputs: int, bias: bool = True) -> None:
        add(f"{name}.weight", outputs, inputs)
        if bias:
            add(f"{name}.bias", outputs)

    add("patch_embed.proj.weight", WIDTH, 3, 8, 8)
    if not pre_norm:
        add("patch_embed.proj.bias", WIDTH)
    front = 0
    for name, count in (("cls_token", class_token), ("dist_token", distilled), ("reg_token", registers)):
        if count:
            add(name, 1, int(count), WIDTH)
            front += int(count)
    add("pos_embed", 1, GRID * GRID + (front if in_table else 0), WIDTH)
    for block in ("blocks.0.", "blocks.1."):
        for norm in ("norm1", "norm2"):
            linear(block + norm, WIDTH, 1)
            state[f"{block}{norm}.weight"] = state[f"{block}{norm}.weight"][:, 0]
        linear(f"{block}attn.qkv", 3 * WIDTH, WIDTH, qkv_bias)
        linear(f"{block}attn.proj", WIDTH, WIDTH)
        for name in ("fc1_g", "fc1_x") if gate == "split" else ("fc1",):
            linear(f"{block}mlp.{name}", MLP * (2 if gate == "packed" else 1), WIDTH)
        linear(f"{block}mlp.fc2", WIDTH, MLP)
        for number in (1, 2):
            if layer_scale:
                add(f"{block}ls{number}.gamma", WIDTH)
    norms = ["fc_norm" if fc_norm else "norm", *["norm_pre"] * pre_norm]
    if pool == "map":
        add("attn_pool.latent", 1, 1, WIDTH)
        for name, outputs, inputs in (("q", WIDTH, WIDTH), ("kv", 2 * WIDTH, WIDTH), ("proj", WIDTH, WIDTH),
                                      ("mlp.fc1", MLP, WIDTH), ("mlp.fc2", WIDTH, MLP)):
            linear(f"attn_pool.{name}", outputs, inputs)
        norms.append("attn_pool.norm")
    for norm in norms:
        add(f"{norm}.weight", WIDTH)
        add(f"{norm}.bias", WIDTH)
    for name in (("head", "head_dist") if distilled else ("head",)) if head else ():
        linear(name, CLASSES, WIDTH)
    return state


def timm_answers(state: State, images: Tensor, pool: str = "token") -> Tensor:
    """What timm computes."""
    def linear(name: str, x: Tensor) -> Tensor:
        return F.linear(x, state[f"{name}.weight"], state.get(f"{name}.bias"))

    def norm(name: str, x: Tensor) -> Tensor:
        epsilon = 1e-5 if "norm_pre.weight" in state else 1e-6
        return F.layer_norm(x, (WIDTH,), state[f"{name}.weight"], state[f"{name}.bias"], epsilon)

    def heads(x: Tensor) -> Tensor:
        return x.unflatten(-1, (HEADS, -1)).transpose(1, 2)

    def attend(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        scores = heads(q) @ heads(k).transpose(-1, -2) / (WIDTH // HEADS) ** 0.5
        return (scores.softmax(-1) @ heads(v)).transpose(1, 2).flatten(2)

    def mlp(name: str, x: Tensor) -> Tensor:
        if f"{name}.fc1_g.weight" in state:
            hidden = F.silu(linear(f"{name}.fc1_g", x)) * linear(f"{name}.fc1_x", x)
        else:
            hidden = linear(f"{name}.fc1", x)
            if hidden.shape[-1] == 2 * MLP:
                gate, value = hidden.chunk(2, -1)
                hidden = F.silu(gate) * value
            else:
                hidden = F.gelu(hidden)
        return linear(f"{name}.fc2", hidden)

    patches = F.conv2d(images, state["patch_embed.proj.weight"], state.get("patch_embed.proj.bias"),
                       stride=state["patch_embed.proj.weight"].shape[-1])
    grid, x = patches.shape[-2:], patches.flatten(2).transpose(1, 2)
    tokens = [state[name].expand(len(x), -1, -1) for name in ("cls_token", "dist_token", "reg_token") if name in state]
    front = sum(token.shape[1] for token in tokens)
    placed = state["pos_embed"].shape[1] - GRID * GRID
    places, table = state["pos_embed"][:, :placed], state["pos_embed"][:, placed:]
    if tuple(grid) != (GRID, GRID):
        table = F.interpolate(table.unflatten(1, (GRID, GRID)).permute(0, 3, 1, 2), size=grid, mode="bicubic",
                              antialias=True).flatten(2).transpose(1, 2)
    x = torch.cat([*tokens, x], 1) + torch.cat((places, table), 1) if placed else torch.cat([*tokens, x + table], 1)
    x = norm("norm_pre", x) if "norm_pre.weight" in state else x
    for block in ("blocks.0.", "blocks.1."):
        one, two = (state.get(f"{block}ls{number}.gamma", torch.ones(())) for number in (1, 2))
        qkv = linear(f"{block}attn.qkv", norm(f"{block}norm1", x)).chunk(3, -1)
        x = x + one * linear(f"{block}attn.proj", attend(*qkv))
        x = x + two * mlp(f"{block}mlp", norm(f"{block}norm2", x))
    x = norm("norm", x) if "norm.weight" in state else x
    if "head_dist.weight" in state:
        return (linear("head", x[:, 0]) + linear("head_dist", x[:, 1])) / 2
    if pool == "map":
        query = linear("attn_pool.q", state["attn_pool.latent"].expand(len(x), -1, -1))
        y = linear("attn_pool.proj", attend(query, *linear("attn_pool.kv", x).chunk(2, -1)))
        x = (y + mlp("attn_pool.mlp", norm("attn_pool.norm", y)))[:, 0]
    else:
        x = x[:, front:].mean(1) if pool == "avg" else x[:, 0]
    x = norm("fc_norm", x) if "fc_norm.weight" in state else x
    return linear("head", x) if "head.weight" in state else x


def pictures(*size: int) -> Tensor:
    return torch.randn(2, 3, *size, generator=torch.Generator().manual_seed(1))


@each_layout
@pytest.mark.parametrize("size", [(24, 24), (40, 40), (16, 32)])
@torch.inference_mode()
def test_their_numbers(tmp_path: Path, layout: dict[str, Any], size: tuple[int, int]) -> None:
    state = state_of(**layout)
    save_file(state, tmp_path / "anything")
    expected = timm_answers(state, pictures(*size), layout.get("pool", "token"))
    assert_agree(weights.load(tmp_path / "anything", heads=HEADS).model(pictures(*size)), expected)
    assert_agree(weights.load(tmp_path / "anything", size, heads=HEADS).model(pictures(*size)), expected)


@each_layout
@torch.inference_mode()
def test_round_trip(tmp_path: Path, layout: dict[str, Any]) -> None:
    """A folder, where the first file was bare: config, answers and, the second time, every bit are the same."""
    save_file(state_of(**layout), tmp_path / "bare")
    bundle = weights.load(tmp_path / "bare", heads=HEADS)
    read = weights.load(weights.write(bundle, tmp_path / "folder", "timm"))
    assert read.model.config == bundle.model.config
    assert read.preprocess == bundle.preprocess
    assert "notes" not in read.provenance
    for name, value in bundle.model.state_dict().items():
        assert torch.equal(read.model.state_dict()[name], value), name


def test_what_a_bare_file_does_not_say_is_assumed_aloud(tmp_path: Path) -> None:
    save_file(state_of(), tmp_path / "bare")
    with pytest.raises(BundleError, match=r"width 16 is divided into\. Say it: --heads N"):
        weights.load(tmp_path / "bare")
    notes = weights.load(tmp_path / "bare", heads=HEADS).provenance["notes"]
    assert "epsilon 1e-06" in notes[0]


def test_its_settings_are_used(tmp_path: Path) -> None:
    save_file(state_of(), tmp_path / "model.safetensors")
    (tmp_path / "config.json").write_text(json.dumps({
        "architecture": "vit_tiny_patch16_224", "global_pool": "token", "num_classes": CLASSES,
        "label_names": ["n1", "n2", "n3", "n4", "n5"], "label_descriptions": {"n1": "cat"},
        "model_args": {"num_heads": 4, "norm_eps": 1e-5},
        "pretrained_cfg": {"input_size": [3, 24, 24], "mean": [0.485, 0.456, 0.406], "std": [0.229, 0.224, 0.225],
                           "interpolation": "bilinear", "crop_pct": 0.95, "crop_mode": "center"}}))
    bundle = weights.load(tmp_path)
    assert (bundle.model.config.heads, bundle.model.config.norm_eps) == (4, 1e-5)
    assert bundle.classes == ("cat", "n2", "n3", "n4", "n5")
    assert bundle.preprocess == Preprocess(size=24, resize="crop", crop_fraction=0.95, mean=(0.485, 0.456, 0.406),
                                           std=(0.229, 0.224, 0.225))
    assert weights.load(tmp_path / "model.safetensors").model.config == bundle.model.config


@pytest.mark.parametrize(("change", "said"), [
    ({"blocks.1.mlp.fc2.bias": None}, "blocks.1.mlp.fc2.bias is missing"),
    ({"norm_pre.weight": (WIDTH,)}, "norm_pre.bias is missing"),
    ({"gate.weight": (WIDTH,)}, "gate.weight is not known"),
    ({"head.weight": (CLASSES, 7)}, r"head.weight is \(5, 7\), not \(5, 16\)"),
    ({"pos_embed": (3,)}, r"pos_embed is \(3,\)"),
    ({"patch_embed.proj.weight": (WIDTH,)}, "4 axes are expected"),
])
def test_what_does_not_fit_is_named(tmp_path: Path, change: dict[str, Any], said: str) -> None:
    save_file(changed(state_of(), change, torch.zeros), tmp_path / "bare")
    with pytest.raises(BundleError, match=said):
        weights.load(tmp_path / "bare", heads=HEADS)


@pytest.mark.parametrize(("settings", "feedforward"), [
    ({"architecture": "vit_base_patch16_clip_quickgelu_224"}, "gelu-quick"),
    ({"architecture": "vit_base_patch16_clip_224"}, "gelu"),
    ({"architecture": "vit_base_patch16_siglip_224"}, "gelu-tanh"),
    ({"architecture": "vision_transformer", "model_args": {"act_layer": "quick_gelu"}}, "gelu-quick"),
])
def test_the_activation_as_the_settings_say(tmp_path: Path, settings: dict[str, Any], feedforward: str) -> None:
    save_file(state_of(pre_norm=True), tmp_path / "model.safetensors")
    (tmp_path / "config.json").write_text(json.dumps(settings))
    assert weights.load(tmp_path, heads=HEADS).model.config.feedforward == feedforward


def test_half_precision_is_read_exactly(tmp_path: Path) -> None:
    state = {name: value.bfloat16() for name, value in state_of().items()}
    save_file(state, tmp_path / "bf16")
    save_file({name: value.float() for name, value in state.items()}, tmp_path / "float")
    low, full = (weights.load(tmp_path / name, heads=HEADS).model.state_dict() for name in ("bf16", "float"))
    assert all(torch.equal(low[name], value) for name, value in full.items())


@torch.inference_mode()
def test_official_numbers_in_timms_keys_are_warned_of_for_other_sizes(tmp_path: Path) -> None:
    config = ViTConfig(image_size=8, patch=4, width=8, depth=1, heads=2, mlp=8, classes=2)
    bundle = Bundle(awake(config), Preprocess(size=8))
    with pytest.warns(UserWarning, match="resampling is 'bilinear-corners', not 'bicubic-antialias'"):
        written = weights.write(bundle, tmp_path / "out", "timm")
    assert torch.equal(weights.load(written).model(pictures(8, 8)), bundle.model(pictures(8, 8)))
