"""The keys that Google's two code bases share: `Transformer/encoderblock_0/...`, kernels as Flax keeps them.

A dialect says what differs between files: the prefix, the numbers of the parts of a block, one array for all layers
("scan"), where positions and the attention pooling stand. Sources of the names: paper.md, section 3.1.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from vitrail.bundle import Bundle, BundleConfig
from vitrail.data.preprocess import Preprocess
from vitrail.models import HybridConfig, ViTConfig
from vitrail.models.convolution import map_stride
from vitrail.vocabulary import Size
from vitrail.weights import flax_resnet
from vitrail.weights.contract import Reading, Told
from vitrail.weights.known import checked, origin, own_size
from vitrail.weights.layout import TABLE, Rule, convolution, cutting, lay_out, reading, same, shape_of
from vitrail.weights.npz import write_npz
from vitrail.weights.opened import Opened, Shapes, square

NUMERICS = {"feedforward": ("gelu-tanh",), "norm_eps": (1e-6,), "norm_at": ("tokens",), "positions_at": ("stem",),
            "resampling": ("bilinear-corners",), "qkv_bias": (True,), "patch_bias": (True,)}
PREFIXES = ("opt/target/", "params/img/", "params/", "")
BLOCK = "Transformer/encoderblock_"
SCANNED = "Transformer/encoderblock/"
MAP_PARTS = ("probe", "MultiHeadDotProductAttention_0/", "LayerNorm_0/", "MlpBlock_0/")


@dataclass(frozen=True)
class Dialect:
    prefix: str
    attention: str
    norm2: str
    mlp: str
    positions: str
    pooling: str = "MAPHead_0/"
    class_slot: bool = True
    """Whether the class token has a place of its own in the table of positions."""
    wide_norms: bool = True
    """Whether a hybrid's group norms lie as [1, 1, 1, channels], as they do in all that are published."""


OFFICIAL = Dialect("", "MultiHeadDotProductAttention_1", "LayerNorm_2", "MlpBlock_3",
                   "Transformer/posembed_input/pos_embedding")
LINEN = replace(OFFICIAL, attention="MultiHeadDotProductAttention_0", norm2="LayerNorm_1", mlp="MlpBlock_0")
BIG_VISION = replace(LINEN, prefix="params/", positions="pos_embedding", class_slot=False)


def read(given: Opened, told: Told, format_name: str, preprocess: Callable[[ViTConfig], Preprocess]) -> Reading:
    prefix = prefix_of(given.shapes) or ""
    shapes, tensor = unstacked(given, prefix)
    dialect = dialect_of(shapes, prefix, told.image_size)
    model = configure(given, shapes, dialect, told.image_size)
    notes = [] if model.positions == "learned" or told.image_size else [
        f"The file has no table of positions: fixed sines and cosines are assumed, and images of "
        f"{model.image_size[0]} x {model.image_size[1]} pixels."]
    config = BundleConfig(model=model, preprocess=preprocess(model), classes=None, activation="softmax",
                          provenance=origin(given, format_name, notes))
    return reading(config, rules(model, dialect), given, shapes, tensor)


def write(bundle: Bundle, config: ViTConfig, dialect: Dialect, path: Path, format_name: str) -> Path:
    """`config`: of the Bundle's model, which the format has looked at."""
    tensors = lay_out(bundle.model, rules(config, dialect), format_name)
    return write_npz(path, {name: value.numpy() for name, value in tensors.items()})


def prefix_of(shapes: Shapes) -> str | None:
    """In front of every key, or None where this is no ViT of theirs."""
    for prefix in PREFIXES:
        if f"{prefix}embedding/kernel" in shapes and f"{prefix}Transformer/encoder_norm/scale" in shapes:
            return prefix
    return None


def beneath(shapes: Shapes, prefix: str) -> Shapes:
    """What belongs to the model: an old file holds the optimizer's state too, a two-tower one the text tower."""
    if prefix in ("opt/target/", "params/img/"):
        return {name: shape for name, shape in shapes.items() if name.startswith(prefix)}
    if prefix == "params/":
        return {name: shape for name, shape in shapes.items() if not name.startswith("opt/")}
    return shapes


def unstacked(given: Opened, prefix: str) -> tuple[Shapes, Callable[[str], Tensor]]:
    """Layers that are stored as one array with a leading axis, under the keys that they have one by one."""
    shapes = beneath(given.shapes, prefix)
    whole = {name: shape for name, shape in shapes.items() if name.startswith(prefix + SCANNED) and shape}
    if not whole:
        return shapes, given.tensor
    stack = lru_cache(maxsize=3)(given.tensor)  # what one rule reads, for all layers in turn
    origin = {name.replace(SCANNED, f"{BLOCK}{index}/"): (name, index)
              for name, shape in whole.items() for index in range(min(shape[0], 10_000))}
    apart = {name: whole[stored][1:] for name, (stored, _) in origin.items()}

    def tensor(name: str) -> Tensor:
        stored, index = origin.get(name, (name, None))
        return given.tensor(name) if index is None else stack(stored)[index]

    return {name: shape for name, shape in shapes.items() if name not in whole} | apart, tensor


def dialect_of(shapes: Shapes, prefix: str, told: Size | None) -> Dialect:
    """Which names the parts have in this file."""
    def number(part: str, default: str) -> str:
        first = re.compile(re.escape(f"{prefix}{BLOCK}0/") + rf"({part}_\d+)/")
        found = {match[1] for name in shapes if (match := first.match(name))} - {"LayerNorm_0"}
        return min(found, default=default)

    old = f"{prefix}{OFFICIAL.positions}" in shapes
    return Dialect(
        prefix, number("MultiHeadDotProductAttention", LINEN.attention), number("LayerNorm", LINEN.norm2),
        number("MlpBlock", LINEN.mlp), OFFICIAL.positions if old else BIG_VISION.positions,
        "" if f"{prefix}probe" in shapes else "MAPHead_0/", class_slot(shapes, prefix, old, told),
        len(shapes.get(f"{prefix}{flax_resnet.ROOT_NORM}/scale", (1, 1, 1, 1))) == 4)


def class_slot(shapes: Shapes, prefix: str, old: bool, told: Size | None) -> bool:
    """A table at the top has no place for the class token, unless only so the patches are a square."""
    if f"{prefix}cls" not in shapes:
        return False
    if old:
        return True
    table = shapes.get(f"{prefix}{BIG_VISION.positions}", (1, 0, 0))
    places = table[1] if len(table) == 3 else 0
    kernel = shapes[f"{prefix}embedding/kernel"]
    if told is not None and len(kernel) == 4 and min(kernel) > 0 \
            and (told[0] // kernel[0]) * (told[1] // kernel[1]) == places:
        return False
    return square(places) is None and square(places - 1) is not None


def configure(given: Opened, shapes: Shapes, dialect: Dialect, image_size: Size | None) -> ViTConfig:
    """The model from names and shapes alone. Raises BundleError."""
    def shape(name: str, axes: int) -> tuple[int, ...]:
        return shape_of(shapes, dialect.prefix + name, axes, given.path)

    *patch, channels, width = shape("embedding/kernel", 4)
    stem: dict[str, Any] = {}
    if dialect.prefix + flax_resnet.ROOT in shapes:
        stem = flax_resnet.fields(shape(flax_resnet.ROOT, 4), shapes, dialect.prefix)
        patch = [side * map_stride(len(stem["stem_depths"])) for side in patch]
    first = f"{BLOCK}0/"
    heads = shape(f"{first}{dialect.attention}/query/kernel", 3)[1]
    mlp = shape(f"{first}{dialect.mlp}/Dense_0/kernel", 2)[1]
    layers = {match[1] for name in shapes if (match := re.match(re.escape(dialect.prefix + BLOCK) + r"(\d+)/", name))}
    hidden = f"{dialect.prefix}pre_logits/kernel" in shapes
    learned = dialect.prefix + dialect.positions in shapes
    pooling = "token" if f"{dialect.prefix}cls" in shapes else (
        "attention" if f"{dialect.prefix}{dialect.pooling}probe" in shapes else "mean")
    if learned:
        places = shape(dialect.positions, 3)[1] - (1 if dialect.class_slot else 0)
        image_size = own_size(given, places, (patch[0], patch[1]), image_size, by_count=True)
    kind = HybridConfig if stem else ViTConfig
    return checked(given, {
        "image_size": image_size or tuple(max(224 // side, 1) * side for side in patch), "patch": patch,
        "channels": channels, "width": width, "heads": heads, "mlp": mlp, "depth": len(layers), "pooling": pooling,
        "classes": shape("head/kernel", 2)[1] if f"{dialect.prefix}head/kernel" in shapes else 0,
        "positions": "learned" if learned else "sincos-2d",
        "head_hidden": shape("pre_logits/kernel", 2)[1] if hidden else None,
    } | stem, kind)


def rules(config: ViTConfig, dialect: Dialect) -> Iterator[Rule]:
    """Layer by layer inside one kind of parameter, so that an array of all layers is read once."""
    width = config.width
    if isinstance(config, HybridConfig):
        yield from flax_resnet.rules(config, dialect.prefix, dialect.wide_norms)
    name, shape = cutting(config)
    yield convolution(f"{name}.weight", f"{dialect.prefix}embedding/kernel", shape)
    yield same(f"{name}.bias", f"{dialect.prefix}embedding/bias", (width,))
    yield from places(config, dialect)
    blocks = [(f"encoder.blocks.{n}.", f"{dialect.prefix}{BLOCK}{n}/") for n in range(config.depth)]
    for here, there in ("norm1", "LayerNorm_0"), ("norm2", dialect.norm2):
        yield from (rule for ours, theirs in blocks for rule in norm(ours + here, theirs + there, width))
    qkv = ("query", "key", "value")
    yield from (heads(f"{ours}attention.qkv", theirs + dialect.attention, qkv, "kernel", config)
                for ours, theirs in blocks)
    yield from (heads(f"{ours}attention.qkv", theirs + dialect.attention, qkv, "bias", config)
                for ours, theirs in blocks)
    yield from (rule for ours, theirs in blocks
                for rule in gathered(f"{ours}attention.out", f"{theirs}{dialect.attention}/out", config))
    for here, there, sizes in (("expand", "Dense_0", (width, config.mlp)),
                               ("contract", "Dense_1", (config.mlp, width))):
        yield from (rule for ours, theirs in blocks
                    for rule in dense(f"{ours}feed_forward.{here}", f"{theirs}{dialect.mlp}/{there}", *sizes))
    yield from norm("norm", f"{dialect.prefix}Transformer/encoder_norm", width)
    if config.pooling == "attention":
        yield from attention_pooling(config, dialect.prefix + dialect.pooling)
    if config.head_hidden:
        yield from dense("hidden.linear", f"{dialect.prefix}pre_logits", config.pooled, config.head_hidden)
    if config.classes:
        yield from dense("head", f"{dialect.prefix}head", config.embedding, config.classes)


def places(config: ViTConfig, dialect: Dialect) -> Iterator[Rule]:
    """Class token and positions. Where the table has no place for the class token, its position was added to the
    token itself: read as zero, merged when written."""
    width, token, first = config.width, "prefix.class_token", TABLE + "class_position"
    cls, table = f"{dialect.prefix}cls", dialect.prefix + dialect.positions
    if not config.class_tokens or dialect.class_slot or config.positions != "learned":
        if config.class_tokens:
            yield same(token, cls, (1, 1, width))
        if config.positions == "learned":
            front = config.class_tokens
            yield Rule((first, TABLE + "table"), {table: (1, front + config.patches, width)},
                       lambda values: (values[0, :front], values[0, front:]),
                       lambda own, values: (torch.cat((own, values))[None],))
        return
    yield Rule((token, first), {cls: (1, 1, width)}, lambda value: (value, torch.zeros(1, width)),
               lambda value, position: ((value + position)[None],))
    yield same(TABLE + "table", table, (1, config.patches, width))


def attention_pooling(config: ViTConfig, there: str) -> Iterator[Rule]:
    width, attention = config.width, f"{there}MultiHeadDotProductAttention_0"
    yield same("pool.probe", f"{there}probe", (1, 1, width))
    for ours, parts in ("pool.query", ("query",)), ("pool.key_value", ("key", "value")):
        yield from (heads(ours, attention, parts, part, config) for part in ("kernel", "bias"))
    yield from gathered("pool.out", f"{attention}/out", config)
    yield from norm("pool.norm", f"{there}LayerNorm_0", width)
    yield from dense("pool.feed_forward.expand", f"{there}MlpBlock_0/Dense_0", width, config.mlp)
    yield from dense("pool.feed_forward.contract", f"{there}MlpBlock_0/Dense_1", config.mlp, width)


def norm(ours: str, theirs: str, width: int) -> list[Rule]:
    return [same(f"{ours}.weight", f"{theirs}/scale", (width,)), same(f"{ours}.bias", f"{theirs}/bias", (width,))]


def dense(ours: str, theirs: str, inputs: int, outputs: int) -> list[Rule]:
    turned = Rule((f"{ours}.weight",), {f"{theirs}/kernel": (inputs, outputs)},
                  lambda kernel: (kernel.T,), lambda weight: (weight.T,))
    return [turned, same(f"{ours}.bias", f"{theirs}/bias", (outputs,))]


def heads(ours: str, theirs: str, parts: tuple[str, ...], kind: str, config: ViTConfig) -> Rule:
    """Layers [width, heads, head width], side by side as one of ours."""
    width, split = config.width, (config.heads, config.head_width)
    if kind == "bias":
        return Rule((f"{ours}.bias",), {f"{theirs}/{part}/bias": split for part in parts},
                    lambda *values: (torch.cat([value.flatten() for value in values]),),
                    lambda value: tuple(one.unflatten(0, split) for one in value.chunk(len(parts))))
    return Rule((f"{ours}.weight",), {f"{theirs}/{part}/kernel": (width, *split) for part in parts},
                lambda *values: (torch.cat([value.flatten(1).T for value in values]),),
                lambda value: tuple(one.T.unflatten(1, split) for one in value.chunk(len(parts))))


def gathered(ours: str, theirs: str, config: ViTConfig) -> list[Rule]:
    """The projection after attention, [heads, head width, width]."""
    split = (config.heads, config.head_width)
    turned = Rule((f"{ours}.weight",), {f"{theirs}/kernel": (*split, config.width)},
                  lambda kernel: (kernel.flatten(0, 1).T,), lambda weight: (weight.T.unflatten(0, split),))
    return [turned, same(f"{ours}.bias", f"{theirs}/bias", (config.width,))]
