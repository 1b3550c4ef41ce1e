"""timm's BiT and the ResNet in front of its hybrids, against their forward passes in words: a few lines on the state
dict itself, without our model. Kernels and pictures are so faint that timm's epsilons decide."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from models.small import awake, small
from models.small import pictures as pictures_of
from published import GOLDEN, assert_agree, changed, expected_of, faint
from safetensors.torch import load_file, save_file
from test_timm import HEADS, State, state_of, timm_answers
from test_timm import pictures as bright_pictures
from torch import Tensor

from vitrail import weights
from vitrail.bundle import Bundle
from vitrail.data.preprocess import Preprocess
from vitrail.errors import BundleError
from vitrail.models import configure
from vitrail.weights import FORMATS, Told, timm, timm_resnet
from vitrail.weights.opened import Opened

ROOT, CLASSES = 32, 5
DEPTHS = (1, 2)


def resnet_state(depths: tuple[int, ...], *, front: str = "", preact: bool) -> State:
    """`preact`: BiT, with its last norm and its head; otherwise what stands in front of a hybrid."""
    generator = torch.Generator().manual_seed(3)
    state: State = {}

    def conv(name: str, outputs: int, inputs: int, side: int) -> None:
        state[f"{front}{name}.weight"] = torch.randn(outputs, inputs, side, side, generator=generator) * 1e-4

    def norm(name: str, channels: int) -> None:
        for part in ("weight", "bias"):
            state[f"{front}{name}.{part}"] = torch.randn(channels, generator=generator)

    stem = "stem." if depths else ""
    conv(f"{stem}conv", ROOT, 3, 7)
    if not preact:
        norm(f"{stem}norm", ROOT)
    inputs = ROOT
    for stage, units in enumerate(depths):
        for unit in range(units):
            block, middle = f"stages.{stage}.blocks.{unit}.", ROOT * 2**stage
            shapes = [(middle, inputs, 1), (middle, middle, 3), (4 * middle, middle, 1)]
            for number, (to, of, side) in enumerate(shapes, start=1):
                conv(f"{block}conv{number}", to, of, side)
                norm(f"{block}norm{number}", of if preact else to)
            if unit == 0:
                conv(f"{block}downsample.conv", 4 * middle, inputs, 1)
                if not preact:
                    norm(f"{block}downsample.norm", 4 * middle)
            inputs = 4 * middle
    if preact:
        norm("norm", inputs)
        state["head.fc.weight"] = torch.randn(CLASSES, inputs, 1, 1, generator=generator)
        state["head.fc.bias"] = torch.randn(CLASSES, generator=generator)
    return state


def pictures(*size: int) -> Tensor:
    return bright_pictures(*size) * 1e-3


def group_norm(state: State, name: str, x: Tensor) -> Tensor:
    return F.group_norm(x, 32, state[f"{name}.weight"], state[f"{name}.bias"], 1e-5)


def standardized(state: State, name: str) -> Tensor:
    """Each output's kernel with mean 0 and variance 1, 1e-8 added to that."""
    weight = state[f"{name}.weight"]
    outputs = weight.flatten(1)
    variance, mean = outputs.var(1, correction=0, keepdim=True), outputs.mean(1, keepdim=True)
    return ((outputs - mean) / (variance + 1e-8).sqrt()).view_as(weight)


def bit_answers(state: State, x: Tensor) -> Tensor:
    """What `resnetv2_*_bit` computes: `stem_type="fixed"`, pre-activation, the stride on the 3x3."""
    def conv(name: str, x: Tensor, stride: int = 1) -> Tensor:
        kernel = standardized(state, name)
        return F.conv2d(x, kernel, stride=stride, padding=kernel.shape[-1] // 2)

    def norm(name: str, x: Tensor) -> Tensor:
        return group_norm(state, name, x).relu()

    x = F.max_pool2d(F.pad(conv("stem.conv", x, 2), (1, 1, 1, 1)), 3, 2)
    for stage, units in enumerate(DEPTHS):
        for unit in range(units):
            block, stride = f"stages.{stage}.blocks.{unit}.", 2 if stage and unit == 0 else 1
            ready = norm(f"{block}norm1", x)
            shortcut = conv(f"{block}downsample.conv", ready, stride) if unit == 0 else x
            y = conv(f"{block}conv2", norm(f"{block}norm2", conv(f"{block}conv1", ready)), stride)
            x = shortcut + conv(f"{block}conv3", norm(f"{block}norm3", y))
    pooled = norm("norm", x).mean((2, 3), keepdim=True)
    return F.conv2d(pooled, state["head.fc.weight"], state["head.fc.bias"])[..., 0, 0]


def stem_answers(state: State, depths: tuple[int, ...], x: Tensor) -> Tensor:
    """The feature map of a hybrid's ResNet: post-activation, TensorFlow's "SAME" padding."""
    front = timm_resnet.BACKBONE

    def same(x: Tensor, side: int, stride: int, value: float = 0.0) -> Tensor:
        high, wide = (max((-(-size // stride) - 1) * stride + side - size, 0) for size in x.shape[-2:])
        return F.pad(x, (wide // 2, wide - wide // 2, high // 2, high - high // 2), value=value)

    def conv(name: str, x: Tensor, stride: int = 1) -> Tensor:
        kernel = standardized(state, front + name)
        return F.conv2d(same(x, kernel.shape[-1], stride), kernel, stride=stride)

    def norm(name: str, x: Tensor) -> Tensor:
        return group_norm(state, front + name, x)

    stem = "stem." if depths else ""
    x = F.max_pool2d(same(norm(f"{stem}norm", conv(f"{stem}conv", x, 2)).relu(), 3, 2, -torch.inf), 3, 2)
    for stage, units in enumerate(depths):
        for unit in range(units):
            block, stride = f"stages.{stage}.blocks.{unit}.", 2 if stage and unit == 0 else 1
            y = norm(f"{block}norm1", conv(f"{block}conv1", x)).relu()
            y = norm(f"{block}norm2", conv(f"{block}conv2", y, stride)).relu()
            y = norm(f"{block}norm3", conv(f"{block}conv3", y))
            x = norm(f"{block}downsample.norm", conv(f"{block}downsample.conv", x, stride)) if unit == 0 else x
            x = (x + y).relu()
    return x


def hybrid_state(depths: tuple[int, ...], **layout: Any) -> State:
    """24 x 24 pixels as 3 x 3 patches of 8 pixels, of one or two positions of the map."""
    state = state_of(**layout) | resnet_state(depths, front=timm_resnet.BACKBONE, preact=False)
    channels, side = (256, 1) if depths else (ROOT, 2)
    state["patch_embed.proj.weight"] = torch.randn(16, channels, side, side,
                                                   generator=torch.Generator().manual_seed(4)) * 0.1
    return state


# BiT.


@pytest.mark.parametrize("size", [(64, 64), (50, 33)])
@torch.inference_mode()
def test_bit_numbers(tmp_path: Path, size: tuple[int, int]) -> None:
    state = resnet_state(DEPTHS, preact=True)
    save_file(state, tmp_path / "anything")
    bundle = weights.load(tmp_path / "anything", size)
    assert_agree(bundle.model(pictures(*size)), bit_answers(state, pictures(*size)))
    config = bundle.model.config
    assert (config.width, config.depths, config.image_size) == (0.5, DEPTHS, size)


@torch.inference_mode()
def test_bit_round_trip_is_bit_exact(tmp_path: Path) -> None:
    state = resnet_state(DEPTHS, preact=True)
    save_file(state, tmp_path / "bare")
    bundle = weights.load(tmp_path / "bare")
    assert "224 x 224 pixels" in bundle.provenance["notes"][0]
    folder = weights.write(bundle, tmp_path / "folder", "timm")
    back = load_file(folder / "model.safetensors")
    assert back.keys() == state.keys()
    assert all(torch.equal(back[name], value) for name, value in state.items())
    read = weights.load(folder)
    assert (read.model.config, read.preprocess) == (bundle.model.config, bundle.preprocess)
    assert "notes" not in read.provenance


@torch.inference_mode()
def test_official_bit_answers_the_same_as_timms(tmp_path: Path) -> None:
    """Also where the epsilon decides: kernels are scaled, and scaled back."""
    values = expected_of("bit_resnet")
    official = weights.load(GOLDEN / "bit_resnet.npz", image_size=64)
    timms = weights.load(weights.write(official, tmp_path / "timm", "timm"))
    assert timms.model.config.standardize_eps == 1e-8
    assert_agree(timms.model(values["images"]), values["logits"])
    back = weights.load(weights.write(timms, tmp_path / "back", "bit"), image_size=64)
    assert_agree(back.model(values["images"]), values["logits"])
    small_kernels = faint(awake(small(family="bit")), 1e-5)
    images = pictures_of(small_kernels.config)
    read = weights.load(weights.write(Bundle(small_kernels, Preprocess(size=(24, 16))), tmp_path / "faint", "timm"))
    assert_agree(read.model(images), small_kernels(images))


def test_bit_settings_are_used(tmp_path: Path) -> None:
    save_file(resnet_state(DEPTHS, preact=True), tmp_path / "model.safetensors")
    (tmp_path / "config.json").write_text(json.dumps({
        "architecture": "resnetv2_50x1_bit", "num_classes": CLASSES, "label_names": ["a", "b", "c", "d", "e"],
        "pretrained_cfg": {"input_size": [3, 448, 448], "mean": [0.5, 0.5, 0.5], "std": [0.5, 0.5, 0.5],
                           "interpolation": "bicubic", "crop_pct": 1.0}}))
    bundle = weights.load(tmp_path)
    assert bundle.model.config.image_size == (448, 448)
    assert bundle.preprocess == Preprocess(size=448, resize="crop", crop_fraction=1.0, interpolation="bicubic")
    assert bundle.classes == ("a", "b", "c", "d", "e")
    other = weights.load(tmp_path, image_size=96)
    assert other.model.config.image_size == other.preprocess.size == (96, 96)


@pytest.mark.parametrize(("settings", "said"), [
    ({"model_args": {"stem_type": ""}}, "its stem is ''"), ({"global_pool": "max"}, "it pools by 'max'")])
def test_another_resnet_of_timms_is_refused(tmp_path: Path, settings: dict[str, Any], said: str) -> None:
    save_file(resnet_state(DEPTHS, preact=True), tmp_path / "model.safetensors")
    (tmp_path / "config.json").write_text(json.dumps({"architecture": "resnetv2_50"} | settings))
    with pytest.raises(BundleError, match=said):
        weights.load(tmp_path)


@pytest.mark.parametrize(("name", "architecture"), [
    ("R50x1", "resnetv2_50x1_bit"), ("R152x4", "resnetv2_152x4_bit"), ("R50x2", "resnetv2"), ("R26x0.5", "resnetv2")])
def test_bit_is_named_from_shapes_alone(name: str, architecture: str) -> None:
    config = configure(name).model_copy(update={"standardize_eps": 1e-8})
    shapes = {key: shape for rule in timm_resnet.rules(config) for key, shape in rule.theirs.items()}  # type: ignore[arg-type]
    opened = Opened(Path("x"), "safetensors", shapes)
    assert [form for form, known in FORMATS.items() if known.recognize(opened)] == ["timm"]
    assert FORMATS["timm"].read(opened, Told()).config.model == config
    assert timm_resnet.architecture_of(config)[0] == architecture  # type: ignore[arg-type]


def test_a_bit_without_a_head_gives_features(tmp_path: Path) -> None:
    state = {name: value for name, value in resnet_state(DEPTHS, preact=True).items() if "head" not in name}
    save_file(state, tmp_path / "bare")
    bundle = weights.load(tmp_path / "bare", 32)
    assert bundle.model(pictures(32, 32)).shape == (2, 256)
    again = load_file(weights.write(bundle, tmp_path / "again", "timm") / "model.safetensors")
    assert again.keys() == state.keys()


# Hybrids.

STEMS = pytest.mark.parametrize("depths", [(1, 2), ()], ids=["two stages", "root alone"])


@STEMS
@pytest.mark.parametrize("size", [(24, 24), (40, 40), (16, 32)])
@torch.inference_mode()
def test_hybrid_numbers(tmp_path: Path, depths: tuple[int, ...], size: tuple[int, int]) -> None:
    state = hybrid_state(depths)
    save_file(state, tmp_path / "bare")
    expected = timm_answers(state, stem_answers(state, depths, pictures(*size)))
    assert_agree(weights.load(tmp_path / "bare", heads=HEADS).model(pictures(*size)), expected)
    bundle = weights.load(tmp_path / "bare", size, heads=HEADS)
    assert_agree(bundle.model(pictures(*size)), expected)
    assert bundle.model.config.image_size == bundle.preprocess.size == size


@STEMS
def test_hybrid_round_trip_is_bit_exact(tmp_path: Path, depths: tuple[int, ...]) -> None:
    state = hybrid_state(depths, pool="avg", class_token=False, fc_norm=True)
    save_file(state, tmp_path / "bare")
    bundle = weights.load(tmp_path / "bare", heads=HEADS)
    folder = weights.write(bundle, tmp_path / "folder", "timm")
    back = load_file(folder / "model.safetensors")
    assert back.keys() == state.keys()
    assert all(torch.equal(back[name], value) for name, value in state.items())
    read = weights.load(folder)
    assert (read.model.config, read.preprocess) == (bundle.model.config, bundle.preprocess)
    settings = json.loads((folder / "config.json").read_text())
    assert settings["architecture"] == ("vit_hybrid" if depths else "vit_tiny_r_s16_p8_224")
    assert settings["model_args"]["patch_size"] == ([1, 1] if depths else [2, 2])


@pytest.mark.parametrize(("name", "architecture"), [
    ("R50+B/16", "vit_base_r50_s16_224"), ("R50+L/32", "vit_large_r50_s32_224"), ("R26+S/32", "vit_small_r26_s32_224"),
    ("R+Ti/16", "vit_tiny_r_s16_p8_224")])
def test_hybrids_are_named_from_shapes_alone(name: str, architecture: str) -> None:
    stem = {field: values[0] for field, values in timm_resnet.STEM_NUMERICS.items()}
    config = configure(name, feedforward="gelu", resampling="bicubic-antialias", **stem)
    found = timm.Found(1, True, False, False)
    shapes = {key: shape for rule in timm.rules(config, found) for key, shape in rule.theirs.items()}  # type: ignore[arg-type]
    opened = Opened(Path("x"), "safetensors", shapes)
    assert FORMATS["timm"].read(opened, Told()).config.model == config
    assert timm.HYBRIDS[config.stem_depths] == architecture  # type: ignore[union-attr]


# What does not fit.


@pytest.mark.parametrize(("change", "said"), [
    ({"stages.1.blocks.1.norm2.bias": None}, "stages.1.blocks.1.norm2.bias is missing"),
    ({"stages.1.blocks.1.gate": (3,)}, "stages.1.blocks.1.gate is not known"),
    ({"stages.1.blocks.0.conv2.weight": (64, 64, 1, 1)}, r"conv2.weight is \(64, 64, 1, 1\), not \(64, 64, 3, 3\)"),
    ({"stages.1.blocks.3.conv1.weight": (64, 256, 1, 1)}, "blocks.2.conv1.weight is missing"),
    ({"stem.conv.weight": (32,)}, "4 axes are expected"),
    ({"stem.conv.weight": (20, 3, 7, 7)}, "20 channels at the root, which is no multiple of 8"),
    ({"head.fc.weight": (5, 256)}, "4 axes are expected"),
])
def test_what_does_not_fit_a_bit_is_named(tmp_path: Path, change: dict[str, Any], said: str) -> None:
    refuse(resnet_state(DEPTHS, preact=True), change, said, tmp_path)


@pytest.mark.parametrize(("change", "said"), [
    ({"stem.norm.weight": None}, "patch_embed.backbone.stem.norm.weight is missing"),
    ({"stages.0.blocks.0.downsample.norm.bias": None}, "downsample.norm.bias is missing"),
    ({"stem.norm.extra": (1,)}, "patch_embed.backbone.stem.norm.extra is not known"),
    ({"stem.conv.weight": None}, "patch_embed.backbone.stages.0.blocks.0.conv1.weight is not known"),
])
def test_what_does_not_fit_a_hybrid_is_named(tmp_path: Path, change: dict[str, Any], said: str) -> None:
    change = {timm_resnet.BACKBONE + name: shape for name, shape in change.items()}
    refuse(hybrid_state((1, 2)), change, said, tmp_path)


def refuse(state: State, change: dict[str, Any], said: str, folder: Path) -> None:
    save_file(changed(state, change, torch.zeros), folder / "bare")
    with pytest.raises(BundleError, match=said):
        weights.load(folder / "bare", heads=HEADS)


def test_official_hybrids_are_not_written_as_timm(tmp_path: Path) -> None:
    bundle = weights.load(GOLDEN / "hybrid_two_stages.npz")
    with pytest.raises(BundleError, match="stem_norm_eps is 1e-06, not 1e-05"):
        weights.write(bundle, tmp_path / "out", "timm")
    assert not (tmp_path / "out").exists()
