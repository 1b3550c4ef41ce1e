"""Folders of Hugging Face `transformers`: ViT, DeiT and DINOv2 with and without registers. DeiT is only read.

Numbers come from `config.json`: the kind of GELU, the epsilon (1e-12 where ViT does not say). Positions are resampled
bicubically, with antialiasing where there are registers. A model keeps the image size of its table; pictures get the
size that `preprocessor_config.json` asks for, and the model resamples on the way, as `transformers` does.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import torch
from safetensors.torch import save_file

from vitrail.bundle import CONFIG, WEIGHTS, Bundle, BundleConfig
from vitrail.data.preprocess import Preprocess
from vitrail.errors import BundleError
from vitrail.files import staged_folder, write_json
from vitrail.models import ViTConfig
from vitrail.vocabulary import Size
from vitrail.weights.contract import Format, Reading, Told, plain_vit
from vitrail.weights.known import configured, origin, pair, prepared
from vitrail.weights.layout import (
    TABLE,
    Rule,
    lay_out,
    layer,
    norm,
    patches,
    positions,
    reading,
    refuse_numerics,
    same,
    stacked_layer,
)
from vitrail.weights.opened import PREPROCESSOR, Opened, Shapes
from vitrail.weights.timm import two_heads

ACTIVATIONS = {"gelu": "gelu", "gelu_pytorch_tanh": "gelu-tanh", "gelu_new": "gelu-tanh"}
PROJECTION = "embeddings.patch_embeddings.projection"
UNUSED = re.compile(r"(.*\.)?(embeddings\.mask_token|pooler\.dense\.(weight|bias))")
"""Of no effect on features or logits: what stands for hidden patches in pre-training, the unused tanh layer."""

IMAGENET = {"mean": (0.485, 0.456, 0.406), "std": (0.229, 0.224, 0.225)}
HALF = {"mean": (0.5, 0.5, 0.5), "std": (0.5, 0.5, 0.5)}


@dataclass(frozen=True)
class Family:
    """What one `model_type` does differently. `usual`: its preprocessing where the folder does not say."""

    prefix: str
    epsilon: float
    usual: dict[str, Any]
    dino: bool = False
    registers: bool = False
    model: str = ""


CENTRAL = {"resize": "crop", "crop_fraction": 224 / 256, "interpolation": "bicubic", "size": 224}
FAMILIES: dict[str, Family] = {
    "vit": Family("vit.", 1e-12, {"resize": "squash", "interpolation": "bilinear", **HALF}, model="ViT"),
    "deit": Family("deit.", 1e-12, CENTRAL | HALF),
    "dinov2": Family("dinov2.", 1e-6, CENTRAL | IMAGENET, dino=True, model="Dinov2"),
    "dinov2_with_registers": Family("dinov2_with_registers.", 1e-6, CENTRAL | IMAGENET, dino=True, registers=True,
                                    model="Dinov2WithRegisters"),
}


class HuggingFace(Format):
    name: ClassVar[str] = "huggingface"
    describes: ClassVar[str] = "Hugging Face folder of ViT, DeiT or DINOv2"

    def recognize(self, given: Opened) -> bool:
        named = given.settings.get("model_type")
        return (given.container == "safetensors" and isinstance(named, str) and named in FAMILIES
                and any(name.endswith(f"{PROJECTION}.weight") for name in given.shapes))

    def read(self, given: Opened, told: Told) -> Reading:
        family = FAMILIES[given.settings["model_type"]]
        prefix = family.prefix if any(name.startswith(family.prefix) for name in given.shapes) else ""
        shapes = {name: shape for name, shape in given.shapes.items() if not UNUSED.fullmatch(name)}
        notes: list[str] = []
        model = configure(given, family, shapes, prefix)
        config = BundleConfig(
            model=model, preprocess=preprocess_of(given, family, model, notes), classes=class_names(given, model),
            activation="sigmoid" if given.settings.get("problem_type") == "multi_label_classification" else "softmax",
            provenance=origin(given, self.name, notes))
        table = rules(model, family, prefix, "distillation_token" if family.prefix == "deit." else None)
        return reading(config, table, given, shapes)

    def write(self, bundle: Bundle, path: Path) -> Path:
        model = plain_vit(bundle, self.name)
        config = model.config
        kind = "vit"
        if config.layer_scale is not None:
            kind = "dinov2_with_registers" if config.registers else "dinov2"
        family = FAMILIES[kind]
        refuse_numerics(config, numerics_of(family, config), self.name)
        if config.patch[0] != config.patch[1]:
            raise BundleError(f"The format {self.name!r} cannot hold patches of {config.patch[0]} x {config.patch[1]}: "
                              "they must be squares there.")
        tensors = lay_out(model, rules(config, family, family.prefix if config.classes else ""), self.name)
        if family.dino:  # nothing of ours, but their files always have it
            tensors[f"{family.prefix if config.classes else ''}embeddings.mask_token"] = torch.zeros(1, config.width)
        with staged_folder(path) as folder:
            save_file(tensors, folder / WEIGHTS, {"format": "pt"})
            write_json(folder / CONFIG, settings_of(bundle, kind, family))
            write_json(folder / PREPROCESSOR, processor_of(bundle.preprocess))
        return path


def configure(given: Opened, family: Family, shapes: Shapes, prefix: str) -> ViTConfig:
    said = given.settings
    missing = [name for name in ("hidden_size", "num_hidden_layers", "num_attention_heads", "image_size", "patch_size")
               if name not in said]
    if missing:
        raise BundleError(f"{given.path.parent / CONFIG} does not say {', '.join(missing)}.")
    depth = said["num_hidden_layers"]
    if isinstance(depth, int) and depth > len(shapes):  # a great many layers would take hours even to name
        raise BundleError(f"{given.path} holds {len(shapes):,} tensors, but its config describes {depth:,} layers.")
    kind = said.get("hidden_act", "gelu")
    if kind not in ACTIVATIONS:
        raise BundleError(f"{given.path} uses the activation {kind!r}, which vitrail does not have. "
                          f"Known: {', '.join(ACTIVATIONS)}.")
    gated = family.dino and bool(said.get("use_swiglu_ffn"))
    first = shapes.get(f"{prefix}encoder.layer.0.{'mlp.weights_out' if gated else 'mlp.fc2'}.weight", (0, 0))
    registers = said.get("num_register_tokens", 4) if family.registers else 0
    pooling, distilled = pooling_of(family, shapes)
    head = shapes.get("classifier.weight") or shapes.get("cls_classifier.weight") or (0,)
    return configured(given, {
        "image_size": pair(said["image_size"]) or said["image_size"],
        "patch": pair(said["patch_size"]) or said["patch_size"],
        "channels": said.get("num_channels", 3), "width": said["hidden_size"], "depth": depth,
        "heads": said["num_attention_heads"], "mlp": first[-1] if family.dino else said.get("intermediate_size"),
        "classes": head[0], "pooling": pooling, "registers": registers + distilled,
        "feedforward": "swiglu" if gated else ACTIVATIONS[kind], "norm_eps": said.get("layer_norm_eps", family.epsilon),
        "layer_scale": said.get("layerscale_value", 1.0) if family.dino else None,
        "qkv_bias": said.get("qkv_bias", True),
        "resampling": "bicubic-antialias" if family.registers else "bicubic",
    })


def pooling_of(family: Family, shapes: Shapes) -> tuple[str, int]:
    """Also how many distillation tokens no head looks at: registers to us."""
    if family.dino:
        return ("token+mean" if "classifier.weight" in shapes else "token"), 0
    if family.prefix == "deit.":
        return ("distilled", 0) if "cls_classifier.weight" in shapes else ("token", 1)
    return "token", 0


def class_names(given: Opened, model: ViTConfig) -> tuple[str, ...] | None:
    """`id2label`, unless it is the numbers that `transformers` makes up."""
    said = given.settings.get("id2label")
    if not isinstance(said, dict) or not model.classes or len(said) != model.classes:
        return None
    names = [said.get(str(index)) for index in range(model.classes)]
    made_up = all(name == f"LABEL_{index}" for index, name in enumerate(names))
    return None if made_up or not all(isinstance(name, str) for name in names) else tuple(map(str, names))


RESAMPLE = {2: "bilinear", 3: "bicubic"}  # Pillow's numbers


def preprocess_of(given: Opened, family: Family, model: ViTConfig, notes: list[str]) -> Preprocess:
    usual = {"size": model.image_size} | family.usual
    said = given.preprocessor
    if not said:
        notes.append("There is no preprocessor_config.json: the usual preprocessing of "
                     f"{given.settings['model_type']} is assumed.")
        if "size" in family.usual and model.image_size[0] < 224:
            usual["size"] = model.image_size
        return prepared(given, **usual)
    fields: dict[str, Any] = dict(usual)
    for ours, theirs in ("mean", "image_mean"), ("std", "image_std"):
        if said.get("do_normalize") is False:
            fields |= {"mean": (0.0,) * 3, "std": (1.0,) * 3}
        elif theirs in said:
            value = said[theirs]
            fields[ours] = [value] * 3 if isinstance(value, (int, float)) else value
    if "resample" in said:
        fields["interpolation"] = RESAMPLE.get(said["resample"], "bicubic")
    if said.get("rescale_factor", 1 / 255) != 1 / 255 or said.get("do_rescale") is False:
        raise BundleError(f"{given.path.parent / PREPROCESSOR} does not map 0 to 255 onto 0 to 1, which vitrail does.")
    return prepared(given, **fields | geometry(said, fields["size"]))


def geometry(said: dict[str, Any], size: object) -> dict[str, Any]:
    """Squashed to `size`; or resized to a shorter side, and the middle kept."""
    whole, crop = sides(said.get("size")), sides(said.get("crop_size"))
    shortest = said.get("size", {}).get("shortest_edge") if isinstance(said.get("size"), dict) else None
    if said.get("do_center_crop") and crop and (shortest or whole):
        edge = shortest or min(whole or crop)
        return {"size": crop, "resize": "crop", "crop_fraction": min(1.0, min(crop) / edge)}
    if isinstance(shortest, int):
        return {"size": (shortest, shortest), "resize": "crop", "crop_fraction": 1.0}
    return {"size": whole or size, "resize": "squash", "crop_fraction": 1.0}


def sides(value: object) -> Size | None:
    if isinstance(value, dict):
        return pair([value.get("height"), value.get("width")])
    return pair(value)


def rules(config: ViTConfig, family: Family, prefix: str, extra: str | None = None) -> Iterator[Rule]:
    """`extra`: DeiT's second token."""
    width = config.width
    yield from patches(config, prefix + PROJECTION)
    if extra:
        yield from distillation(config, prefix)
    else:
        yield same("prefix.class_token", f"{prefix}embeddings.cls_token", (1, 1, width))
        yield positions(config, f"{prefix}embeddings.position_embeddings")
        if config.registers:
            yield same("prefix.registers", f"{prefix}embeddings.register_tokens", (1, config.registers, width))
    for number in range(config.depth):
        yield from block(config, family, f"encoder.blocks.{number}.", f"{prefix}encoder.layer.{number}.")
    yield from norm("norm", f"{prefix}layernorm", width)
    if config.pooling == "distilled":
        yield from two_heads(config, ("cls_classifier", "distillation_classifier"))
    elif config.classes:
        yield from layer("head", "classifier", config.classes, config.embedding)


def distillation(config: ViTConfig, prefix: str) -> Iterator[Rule]:
    """The second token is a class token where a head looks at it, else a register, whose place is added to it."""
    width, theirs = config.width, f"{prefix}embeddings."
    keys = {f"{theirs}cls_token": (1, 1, width), f"{theirs}distillation_token": (1, 1, width),
            f"{theirs}position_embeddings": (1, 2 + config.patches, width)}
    front = config.class_tokens

    def read(first: torch.Tensor, second: torch.Tensor, table: torch.Tensor) -> tuple[torch.Tensor, ...]:
        together, places = torch.cat((first[0], second[0])), table[0, :2]
        return together[:front], (together + places)[front:], places[:front], table[0, 2:]

    def write(*ours: torch.Tensor) -> tuple[torch.Tensor, ...]:
        raise BundleError("vitrail reads DeiT's folders but does not write them.")

    yield Rule(("prefix.class_token", "prefix.registers", TABLE + "class_position", TABLE + "table"), keys, read, write)


def block(config: ViTConfig, family: Family, ours: str, theirs: str) -> Iterator[Rule]:
    width, mlp, bias = config.width, config.mlp, config.qkv_bias
    before, after = ("norm1", "norm2") if family.dino else ("layernorm_before", "layernorm_after")
    attention = f"{theirs}attention."
    yield from norm(f"{ours}norm1", theirs + before, width)
    yield from stacked_layer(f"{ours}attention.qkv", [f"{attention}attention.{part}" for part in
                                                      ("query", "key", "value")], width, width, bias)
    yield from layer(f"{ours}attention.out", f"{attention}output.dense", width, width)
    yield from norm(f"{ours}norm2", theirs + after, width)
    gates, expand, contract = 1, "intermediate.dense", "output.dense"
    if family.dino:
        gates, expand, contract = 1, "mlp.fc1", "mlp.fc2"
    if config.feedforward == "swiglu":
        gates, expand, contract = 2, "mlp.weights_in", "mlp.weights_out"
    yield from layer(f"{ours}feed_forward.expand", theirs + expand, gates * mlp, width)
    yield from layer(f"{ours}feed_forward.contract", theirs + contract, width, mlp)
    if family.dino:
        for number in (1, 2):
            yield same(f"{ours}branch{number}.scale", f"{theirs}layer_scale{number}.lambda1", (width,))


def numerics_of(family: Family, config: ViTConfig) -> dict[str, tuple[object, ...]]:
    """What a folder of this family can say."""
    pooling = ("token+mean" if config.classes else "token") if family.dino else "token"
    return {"positions": ("learned",), "positions_at": ("stem",), "norm_at": ("tokens",), "pooling": (pooling,),
            "resampling": ("bicubic-antialias" if family.registers else "bicubic",), "head_hidden": (None,),
            "feedforward": ("gelu", "gelu-tanh", "swiglu") if family.dino else ("gelu", "gelu-tanh"),
            **({} if family.registers else {"registers": (0,)})}


def settings_of(bundle: Bundle, kind: str, family: Family) -> dict[str, Any]:
    config = plain_vit(bundle, kind).config
    names = bundle.classes or tuple(f"LABEL_{index}" for index in range(config.classes))
    ending = "ForImageClassification" if config.classes else "Model"
    square = config.image_size[0] == config.image_size[1]
    settings: dict[str, Any] = {
        "model_type": kind, "architectures": [family.model + ending], "hidden_size": config.width,
        "num_hidden_layers": config.depth, "num_attention_heads": config.heads,
        "image_size": config.image_size[0] if square else list(config.image_size), "patch_size": config.patch[0],
        "num_channels": config.channels, "qkv_bias": config.qkv_bias, "layer_norm_eps": config.norm_eps,
        "hidden_act": "gelu_pytorch_tanh" if config.feedforward == "gelu-tanh" else "gelu",
        "hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0,
        "id2label": {str(index): name for index, name in enumerate(names)},
        "label2id": {name: index for index, name in enumerate(names)},
    }
    if bundle.activation == "sigmoid":
        settings["problem_type"] = "multi_label_classification"
    if not family.dino:
        return settings | {"intermediate_size": config.mlp}
    gated = config.feedforward == "swiglu"
    return settings | {"mlp_ratio": mlp_ratio(config), "use_swiglu_ffn": gated,
                       "layerscale_value": config.layer_scale,
                       **({"num_register_tokens": config.registers} if family.registers else {})}


def mlp_ratio(config: ViTConfig) -> int:
    """Whole in their settings; of a gated unit they take two thirds, rounded up to a multiple of eight."""
    for ratio in range(1, 65):
        hidden = config.width * ratio
        if config.feedforward == "swiglu":
            hidden = (int(hidden * 2 / 3) + 7) // 8 * 8
        if hidden == config.mlp:
            return ratio
    raise BundleError(f"The format 'huggingface' cannot hold a feed-forward layer of {config.mlp} for a width of "
                      f"{config.width}: DINOv2 states it as a whole multiple.")


def processor_of(preprocess: Preprocess) -> dict[str, Any]:
    height, width = preprocess.size
    resample = {name: number for number, name in RESAMPLE.items()}[preprocess.interpolation]
    common = {"do_resize": True, "resample": resample, "do_rescale": True, "rescale_factor": 1 / 255,
              "do_normalize": True, "image_mean": list(preprocess.mean), "image_std": list(preprocess.std)}
    if preprocess.resize == "squash":
        return {"image_processor_type": "ViTImageProcessor", "size": {"height": height, "width": width}, **common}
    return {"image_processor_type": "BitImageProcessor", "do_convert_rgb": True, **common,
            "size": {"shortest_edge": round(min(height, width) / preprocess.crop_fraction)},
            "do_center_crop": True, "crop_size": {"height": height, "width": width}}
