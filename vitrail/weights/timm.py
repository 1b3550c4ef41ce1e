"""timm's state dicts, a `.safetensors` file, alone or beside its `config.json`: `vision_transformer`, alone or behind
a ResNet (`vit_base_r50_s16` and other hybrids), and BiT (timm_resnet.py).

Numbers: GELU exact, epsilon 1e-6 (1e-5 in CLIP's towers, which have a norm before the first block), positions resampled
bicubically with antialiasing. `fc_norm` is the last norm put after pooling; a class token that pooling leaves out, and
places that registers have in the table, are what registers are to us; DeiT's two heads averaged are one layer. A bare
file does not tell its heads, its pictures' mean and standard deviation or which norm epsilon it was trained with: what
is assumed is said in the notes.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import torch
from safetensors.torch import save_file

from vitrail.bundle import CONFIG, WEIGHTS, Bundle, BundleConfig
from vitrail.errors import BundleError
from vitrail.files import staged_folder, write_json
from vitrail.models import BiT, HybridConfig, ViTConfig
from vitrail.models.convolution import map_stride
from vitrail.vocabulary import Size
from vitrail.weights import timm_resnet
from vitrail.weights.contract import Format, Reading, Told, config_of
from vitrail.weights.known import checked, origin, own_size, usual_heads
from vitrail.weights.layout import (
    TABLE,
    Rule,
    cutting,
    lay_out,
    layer,
    norm,
    patches,
    reading,
    refuse_numerics,
    same,
    shape_of,
    stacked_layer,
)
from vitrail.weights.opened import Opened, square
from vitrail.weights.profiles import assumed
from vitrail.weights.timm_settings import Settings, class_names, model_args, preprocess_of, settings_of, stated_size

KINDS = {"gelu": "gelu", "gelu_tanh": "gelu-tanh", "quick_gelu": "gelu-quick"}
NAMED_BY = {"siglip": "gelu_tanh", "quickgelu": "quick_gelu"}
"""Architectures whose name says the activation."""

HYBRIDS = {(): "vit_tiny_r_s16_p8_224", (2, 2, 2, 2): "vit_small_r26_s32_224", (3, 4, 9): "vit_base_r50_s16_224",
           (3, 4, 6, 3): "vit_large_r50_s32_224"}
"""The architectures in timm that have a ResNet of these units in front; its arguments change everything else."""

DECODER = r"decoder_(blocks\.\d+\..*|(embed|norm|pred)\.(weight|bias)|pos_embed)|mask_token"
"""What masked autoencoders have beside the encoder in their authors' files, whose encoder is timm's."""


@dataclass(frozen=True)
class Found:
    """How a state dict is laid out, beyond what the config says."""

    prefix_tokens: int
    """Class, distillation and register tokens together."""
    in_table: bool
    """Whether they have places in the table of positions (`no_embed_class` is false)."""
    hidden_class: bool
    """A class token that pooling leaves out: the first register."""
    split_gate: bool
    """A gated unit as two layers, `fc1_g` and `fc1_x`."""


class Timm(Format):
    name: ClassVar[str] = "timm"
    describes: ClassVar[str] = "timm vision_transformer or resnetv2_*_bit .safetensors"

    def recognize(self, given: Opened) -> bool:
        wanted = ("patch_embed.proj.weight", "blocks.0.attn.proj.weight", "blocks.0.norm1.weight")
        return given.container == "safetensors" and (
            all(name in given.shapes for name in wanted) or timm_resnet.recognize(given.shapes))

    def read(self, given: Opened, told: Told) -> Reading:
        if timm_resnet.recognize(given.shapes):
            return timm_resnet.read(given, self.name)
        notes: list[str] = []
        model, found = configure(given, told, notes)
        preprocess = preprocess_of(given, model.image_size, notes, interpolation="bicubic",
                                   fraction=0.9 if model.image_size[0] <= 224 else 1.0)
        if not given.settings and told.profile is None:
            notes.append(assumed("timm", model, preprocess))
        names = class_names(given, model.classes)
        held = {name: shape for name, shape in given.shapes.items() if not re.fullmatch(DECODER, name)}
        if len(held) < len(given.shapes):
            notes.append("Not read: the decoder of pre-training.")
        config = BundleConfig(model=model, preprocess=preprocess, classes=names, activation="softmax",
                              provenance=origin(given, self.name, notes))
        return reading(config, rules(model, found), given, held)

    def write(self, bundle: Bundle, path: Path) -> Path:
        """A folder with `config.json`, the arguments of the model's class in its `model_args`."""
        part = timm_resnet.written if isinstance(bundle.model, BiT) else written
        tensors, settings = part(bundle, self.name)
        with staged_folder(path) as folder:
            save_file(tensors, folder / WEIGHTS, {"format": "pt"})
            write_json(folder / CONFIG, settings)
        return path


def written(bundle: Bundle, format_name: str) -> tuple[dict[str, torch.Tensor], Settings]:
    """Tensors and settings."""
    config: ViTConfig = config_of(bundle, format_name, ViTConfig, HybridConfig)
    allowed: dict[str, Sequence[object]] = {
        "positions": ("learned", "none"), "resampling": ("bicubic-antialias",), "positions_at": ("stem",),
        "pooling": ("token", "mean", "attention", "distilled"), "head_hidden": (None,),
        "patch_bias": (not config.pre_norm,)}
    if isinstance(config, HybridConfig):
        allowed |= timm_resnet.STEM_NUMERICS
    refuse_numerics(config, allowed, format_name)
    found = Found(config.prefix, config.prefix > 0, False, False)
    return lay_out(bundle.model, rules(config, found), format_name), arguments_of(bundle, config)


def configure(given: Opened, told: Told, notes: list[str]) -> tuple[ViTConfig, Found]:
    shapes, said = given.shapes, model_args(given)

    def shape(name: str, axes: int) -> tuple[int, ...]:
        return shape_of(shapes, name, axes, given.path)

    width, channels, *patch = shape("patch_embed.proj.weight", 4)
    behind = timm_resnet.stem_of(shapes)
    stem = timm_resnet.stem_fields(given, behind) if behind is not None else {}
    patch = [side * map_stride(len(stem["stem_depths"])) for side in patch] if stem else patch
    mlp = shape("blocks.0.mlp.fc2.weight", 2)[1]
    split = "blocks.0.mlp.fc1_g.weight" in shapes
    gated = split or shape("blocks.0.mlp.fc1.weight", 2)[0] == 2 * mlp
    pooling, hidden_class = pooling_of(given)
    registers = shape("reg_token", 3)[1] if "reg_token" in shapes else 0
    front = ("cls_token" in shapes) + ("dist_token" in shapes) + registers
    size, in_table = size_of(given, told, front, (patch[0], patch[1]))
    depth = len({match[1] for name in shapes if (match := re.match(r"blocks\.(\d+)\.", name))})
    epsilon = said.get("norm_eps", 1e-5 if "norm_pre.weight" in shapes else 1e-6)
    heads = told.heads or said.get("num_heads")
    if heads is None:
        heads = usual_heads(given, width)
        notes.append(f"Attention heads are assumed to be {heads}, as is usual for width {width}. Say otherwise: "
                     "vitrail convert FILE OUT --heads N.")
    kind = HybridConfig if stem else ViTConfig
    config = checked(given, {
        "image_size": size, "patch": patch, "channels": channels, "width": width, "depth": depth, "heads": heads,
        "mlp": mlp, "classes": classes_of(given, shape), "pooling": pooling, "registers": registers + hidden_class,
        "positions": "learned" if "pos_embed" in shapes else "none", "resampling": "bicubic-antialias",
        "norm_at": "pooled" if "fc_norm.weight" in shapes else "tokens",
        "feedforward": "swiglu" if gated else activation_of(given, said),
        "layer_scale": said.get("init_values", 1e-5) if "blocks.0.ls1.gamma" in shapes else None,
        "patch_bias": "patch_embed.proj.bias" in shapes, "pre_norm": "norm_pre.weight" in shapes,
        "qkv_bias": "blocks.0.attn.qkv.bias" in shapes, "norm_eps": epsilon,
    } | stem, kind)
    return config, Found(front, in_table, hidden_class, split)


def arguments_of(bundle: Bundle, config: ViTConfig) -> Settings:
    """The settings, with the arguments of `VisionTransformer`."""
    pool = {"mean": "avg", "attention": "map"}.get(config.pooling, "token")
    packed = config.feedforward == "swiglu"
    arguments = {
        "img_size": list(config.image_size), "patch_size": list(cutting(config)[1][2:]), "in_chans": config.channels,
        "embed_dim": config.width, "depth": config.depth, "num_heads": config.heads,
        "mlp_ratio": (2 if packed else 1) * config.mlp / config.width, "qkv_bias": config.qkv_bias,
        "init_values": config.layer_scale, "class_token": config.class_tokens > 0, "reg_tokens": config.registers,
        "fc_norm": config.norm_at == "pooled", "norm_eps": config.norm_eps,
        "pre_norm": config.pre_norm,
        "act_layer": {ours: theirs for theirs, ours in KINDS.items()}.get(config.feedforward, "gelu"),
    }
    architecture = "vision_transformer"
    if isinstance(config, HybridConfig):
        architecture = HYBRIDS.get(config.stem_depths, "vit_hybrid")
    return settings_of(bundle, architecture, config.width, pool, arguments)


def activation_of(given: Opened, said: dict[str, Any]) -> str:
    of_architecture = [name for word, name in NAMED_BY.items() if word in str(given.settings.get("architecture"))]
    named = said.get("act_layer", (of_architecture or ["gelu"])[0])
    if named not in KINDS:
        raise BundleError(f"{given.path} uses the activation {named!r}, which vitrail does not have. "
                          f"Known: {', '.join(KINDS)}.")
    return KINDS[named]


def pooling_of(given: Opened) -> tuple[str, bool]:
    """Also whether there is a class token that it leaves out."""
    shapes = given.shapes
    if "dist_token" in shapes:
        return "distilled", False
    if "attn_pool.latent" in shapes:
        return "attention", "cls_token" in shapes
    named = given.settings.get("global_pool", "")
    if named not in ("", "token", "avg", "map"):
        raise BundleError(f"{given.path} pools by {named!r}, which vitrail does not have. Known: token, avg, map.")
    if named == "token" and "cls_token" in shapes:
        return "token", False
    if named == "avg" or "fc_norm.weight" in shapes or "cls_token" not in shapes:
        return "mean", "cls_token" in shapes
    return "token", False


def classes_of(given: Opened, shape: Any) -> int:
    return int(shape("head.weight", 2)[0]) if "head.weight" in given.shapes else 0


def size_of(given: Opened, told: Told, front: int, patch: Size) -> tuple[Size, bool]:
    """The file's own image size, and whether the tokens in front have places in its table."""
    table = given.shapes.get("pos_embed", (1, 0, 0))
    if "pos_embed" not in given.shapes:
        return told.image_size or (14 * patch[0], 14 * patch[1]), False
    if len(table) != 3:
        raise BundleError(f"{given.path}: pos_embed is {table}, where 3 axes are expected.")
    stated = stated_size(given)
    if stated is not None:
        grid = (stated[0] // patch[0]) * (stated[1] // patch[1])
        if grid in (table[1], table[1] - front):
            return stated, grid != table[1]
    outside = front > 1 and square(table[1]) is not None and square(table[1] - front) is None
    places = table[1] if outside or front == 0 else table[1] - front
    return own_size(given, places, patch, told.image_size, by_count=False), not outside and front > 0


def rules(config: ViTConfig, found: Found) -> Iterator[Rule]:
    width = config.width
    if isinstance(config, HybridConfig):
        yield from timm_resnet.stem_rules(config)
    yield from patches(config, "patch_embed.proj")
    yield from front(config, found)
    if config.pre_norm:
        yield from norm("encoder.pre_norm", "norm_pre", width)
    for number in range(config.depth):
        yield from block(config, f"encoder.blocks.{number}.", f"blocks.{number}.", found.split_gate)
    yield from norm("norm", "norm", width) if config.norm_at == "tokens" else norm("pool_norm", "fc_norm", width)
    if config.pooling == "attention":
        yield from attention_pooling(config)
    if config.pooling == "distilled" and config.classes:
        yield from two_heads(config, ("head", "head_dist"))
    elif config.classes:
        yield from layer("head", "head", config.classes, config.embedding)


def front(config: ViTConfig, found: Found) -> Iterator[Rule]:
    """Tokens and positions. Ours have no places for registers: theirs are added to the tokens, which is the same."""
    width, ours = config.width, ("prefix.class_token", "prefix.registers", TABLE + "class_position", TABLE + "table")
    tokens = {"dist_token": (1, 1, width)} if config.pooling == "distilled" else {}
    if config.class_tokens or found.hidden_class:
        tokens = {"cls_token": (1, 1, width)} | tokens
    registers = config.registers - found.hidden_class
    if registers:
        tokens["reg_token"] = (1, registers, width)
    placed = found.prefix_tokens if found.in_table else 0
    table = {"pos_embed": (1, placed + config.patches, width)} if config.positions == "learned" else {}

    def read(*given: torch.Tensor) -> tuple[torch.Tensor, ...]:
        *parts, positions = [one[0] for one in given] if table else [*(one[0] for one in given), torch.zeros(0, width)]
        together = torch.cat([*parts, torch.zeros(0, width)])
        places = positions[:placed] if found.in_table else torch.zeros_like(together)
        first = config.class_tokens
        return together[:first], together[first:] + places[first:], places[:first], positions[placed:]

    def write(first: torch.Tensor, registers: torch.Tensor, *tables: torch.Tensor) -> tuple[torch.Tensor, ...]:
        together = torch.cat((first, registers))
        parts = [part[None] for part in together.split([shape[1] for shape in tokens.values()])]
        if not table:
            return tuple(parts)
        places, positions = tables
        if not found.in_table:
            return (*parts, positions[None])
        return (*parts, torch.cat((places, torch.zeros_like(registers), positions))[None])

    yield Rule(ours if table else ours[:2], tokens | table,
               read if table else lambda *given: read(*given)[:2], write)


def block(config: ViTConfig, ours: str, theirs: str, split_gate: bool) -> Iterator[Rule]:
    width, mlp = config.width, config.mlp
    yield from norm(f"{ours}norm1", f"{theirs}norm1", width)
    yield from layer(f"{ours}attention.qkv", f"{theirs}attn.qkv", 3 * width, width, config.qkv_bias)
    yield from layer(f"{ours}attention.out", f"{theirs}attn.proj", width, width)
    yield from norm(f"{ours}norm2", f"{theirs}norm2", width)
    if split_gate:
        yield from stacked_layer(f"{ours}feed_forward.expand", (f"{theirs}mlp.fc1_g", f"{theirs}mlp.fc1_x"), mlp, width)
    else:
        gates = 2 if config.feedforward == "swiglu" else 1
        yield from layer(f"{ours}feed_forward.expand", f"{theirs}mlp.fc1", gates * mlp, width)
    yield from layer(f"{ours}feed_forward.contract", f"{theirs}mlp.fc2", width, mlp)
    if config.layer_scale is not None:
        for number in (1, 2):
            yield same(f"{ours}branch{number}.scale", f"{theirs}ls{number}.gamma", (width,))


def attention_pooling(config: ViTConfig) -> Iterator[Rule]:
    width = config.width
    yield same("pool.probe", "attn_pool.latent", (1, 1, width))
    yield from layer("pool.query", "attn_pool.q", width, width)
    yield from layer("pool.key_value", "attn_pool.kv", 2 * width, width)
    yield from layer("pool.out", "attn_pool.proj", width, width)
    yield from norm("pool.norm", "attn_pool.norm", width)
    yield from layer("pool.feed_forward.expand", "attn_pool.mlp.fc1", config.mlp, width)
    yield from layer("pool.feed_forward.contract", "attn_pool.mlp.fc2", width, config.mlp)


def two_heads(config: ViTConfig, theirs: tuple[str, str]) -> Iterator[Rule]:
    """The mean of two linear layers on two vectors is one on both side by side."""
    width, classes = config.width, config.classes
    yield Rule(("head.weight",), {f"{name}.weight": (classes, width) for name in theirs},
               lambda first, second: (torch.cat((first, second), dim=1) / 2,),
               lambda both: tuple(2 * one for one in both.chunk(2, dim=1)))
    yield Rule(("head.bias",), {f"{name}.bias": (classes,) for name in theirs},
               lambda first, second: ((first + second) / 2,), lambda both: (both, both.clone()))


