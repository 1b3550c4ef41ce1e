"""Folders of Hugging Face `transformers`, one file per family of checkpoints.

Numbers come from `config.json`: the kind of GELU, the epsilon. Positions are resampled by the rule of each family. A
model keeps the image size of its table; pictures get the size that `preprocessor_config.json` asks for, and the model
resamples on the way, as `transformers` does.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar

from safetensors.torch import save_file

from vitrail.bundle import CONFIG, WEIGHTS, Bundle, BundleConfig
from vitrail.errors import BundleError
from vitrail.files import staged_folder, write_json
from vitrail.models import ViTConfig
from vitrail.weights.contract import Format, Reading, Told, plain_vit
from vitrail.weights.huggingface.beit import BEIT, DATA2VEC
from vitrail.weights.huggingface.clip import CLIP, CLIP_VISION
from vitrail.weights.huggingface.deit import DEIT
from vitrail.weights.huggingface.dinov2 import (
    DINOV2,
    DINOV2_WITH_REGISTERS,
    DINOV2_WITH_REGISTERS_WRITTEN,
    DINOV2_WRITTEN,
)
from vitrail.weights.huggingface.dinov3 import DINOV3
from vitrail.weights.huggingface.family import Family, Settings, Written
from vitrail.weights.huggingface.mae import VIT_MAE
from vitrail.weights.huggingface.processor import preprocess_of, processor_of
from vitrail.weights.huggingface.siglip import SIGLIP, SIGLIP2, SIGLIP2_VISION, SIGLIP_VISION
from vitrail.weights.huggingface.vit import VIT, VIT_WRITTEN
from vitrail.weights.known import configured, origin, pair
from vitrail.weights.layout import Rule, lay_out, reading, refuse_numerics
from vitrail.weights.opened import PREPROCESSOR, Opened

FAMILIES: dict[str, Family] = {
    "vit": VIT,
    "deit": DEIT,
    "dinov2": DINOV2,
    "dinov2_with_registers": DINOV2_WITH_REGISTERS,
    "dinov3_vit": DINOV3,
    "beit": BEIT,
    "data2vec-vision": DATA2VEC,
    "vit_mae": VIT_MAE,
    "clip": CLIP,
    "clip_vision_model": CLIP_VISION,
    "siglip": SIGLIP,
    "siglip_vision_model": SIGLIP_VISION,
    "siglip2": SIGLIP2,
    "siglip2_vision_model": SIGLIP2_VISION,
}
"""By `model_type` of config.json."""

WRITTEN: dict[str, Written] = {
    "vit": VIT_WRITTEN,
    "dinov2": DINOV2_WRITTEN,
    "dinov2_with_registers": DINOV2_WITH_REGISTERS_WRITTEN,
}

ACTIVATIONS = {"gelu": "gelu", "gelu_pytorch_tanh": "gelu-tanh", "gelu_new": "gelu-tanh", "quick_gelu": "gelu-quick"}


class HuggingFace(Format):
    name: ClassVar[str] = "huggingface"
    describes: ClassVar[str] = f"Hugging Face folder of {', '.join(FAMILIES)}"

    def recognize(self, given: Opened) -> bool:
        return given.container == "safetensors" and isinstance(given.settings.get("model_type"), str)

    def read(self, given: Opened, told: Told) -> Reading:
        family = FAMILIES.get(given.settings["model_type"])
        if family is None:
            raise BundleError(f"{given.path} is of the model type {given.settings['model_type']!r}, which vitrail does "
                              f"not read. Known: {', '.join(FAMILIES)}.")
        prefix = family.prefix if any(name.startswith(family.prefix) for name in given.shapes) else ""
        notes: list[str] = []
        held = without_ignored(given, family, prefix, notes)
        seen = replace(held, settings={**family.defaults, **settings_in(given, family.section)},
                       shapes={name.removeprefix(prefix): shape for name, shape in held.shapes.items()})
        notes += family.assumed(seen)
        model = configure(seen, family)
        config = BundleConfig(
            model=model, preprocess=preprocess_of(given, family.usual, model, notes),
            classes=class_names(given, model, notes),
            activation="sigmoid" if given.settings.get("problem_type") == "multi_label_classification" else "softmax",
            provenance=origin(given, self.name, notes))
        table = rules(model, family, prefix, seen.settings)
        return reading(config, table, given, held.shapes)

    def write(self, bundle: Bundle, path: Path) -> Path:
        model = plain_vit(bundle, self.name)
        config = model.config
        kind = kind_for(config)
        family, written = FAMILIES[kind], WRITTEN[kind]
        refuse_numerics(config, written.allowed(config), self.name)
        if config.patch[0] != config.patch[1]:
            raise BundleError(f"The format {self.name!r} cannot hold patches of {config.patch[0]} x {config.patch[1]}: "
                              "they must be squares there.")
        prefix, settings = family.prefix if config.classes else "", settings_of(bundle, config, kind)
        tensors = lay_out(model, rules(config, family, prefix, settings), self.name)
        tensors |= {prefix + name: value for name, value in written.extra(config).items()}
        with staged_folder(path) as folder:
            save_file(tensors, folder / WEIGHTS, {"format": "pt"})
            write_json(folder / CONFIG, settings)
            write_json(folder / PREPROCESSOR, processor_of(bundle.preprocess))
        return path


def settings_in(given: Opened, section: str) -> Settings:
    """The image tower's. Older files repeat them in a second section, which counts."""
    if not section:
        return given.settings
    said = given.settings.get(f"{section}_dict") or given.settings.get(section)
    return said if isinstance(said, dict) else {}


def without_ignored(given: Opened, family: Family, prefix: str, notes: list[str]) -> Opened:
    """The keys that are read; what the others are is noted."""
    kept, left = dict(given.shapes), []
    for pattern, called in family.ignored.items():
        found = [name for name in kept if re.fullmatch(pattern, name.removeprefix(prefix))]
        kept = {name: shape for name, shape in kept.items() if name not in found}
        left += [called] * bool(found)
    if left:
        notes.append(f"Not read: {', '.join(left)}.")
    return replace(given, shapes=kept)


def configure(given: Opened, family: Family) -> ViTConfig:
    said = given.settings
    depth = said["num_hidden_layers"]
    if isinstance(depth, int) and depth > len(given.shapes):  # a great many layers would take hours even to name
        raise BundleError(f"{given.path} holds {len(given.shapes):,} tensors, but its config describes {depth:,} "
                          "layers.")
    own = family.fields(given)
    return configured(given, {
        "image_size": pair(said["image_size"]) or said["image_size"],
        "patch": pair(said["patch_size"]) or said["patch_size"], "channels": said["num_channels"],
        "width": said["hidden_size"], "depth": depth, "heads": said["num_attention_heads"],
        "mlp": said["intermediate_size"], "classes": (given.shapes.get("classifier.weight") or (0,))[0],
        "feedforward": own.get("feedforward") or without_gates(given), "norm_eps": said["layer_norm_eps"],
        "resampling": "bicubic", **own})


def without_gates(given: Opened) -> str:
    """The feed-forward layers of a family that does not say otherwise."""
    kind = given.settings["hidden_act"]
    if not isinstance(kind, str) or kind not in ACTIVATIONS:
        raise BundleError(f"{given.path} uses the activation {kind!r}, which vitrail does not have. "
                          f"Known: {', '.join(ACTIVATIONS)}.")
    return ACTIVATIONS[kind]


def rules(config: ViTConfig, family: Family, prefix: str, settings: Settings) -> Iterator[Rule]:
    for rule in family.body(config, settings):
        yield replace(rule, theirs={prefix + name: shape for name, shape in rule.theirs.items()})
    yield from family.head(config)


def class_names(given: Opened, model: ViTConfig, notes: list[str]) -> tuple[str, ...] | None:
    """`id2label`, unless it is the numbers that `transformers` makes up, or does not tell the classes apart."""
    said = given.settings.get("id2label")
    if not isinstance(said, dict) or not model.classes:
        return None
    if len(set(map(str, said.values()))) != model.classes:
        notes.append(f"Its class names are left out: {len(set(map(str, said.values())))} different ones for "
                     f"{model.classes} answers.")
        return None
    names = [said.get(str(index)) for index in range(model.classes)]
    made_up = all(name == f"LABEL_{index}" for index, name in enumerate(names))
    return None if made_up or not all(isinstance(name, str) for name in names) else tuple(map(str, names))


def kind_for(config: ViTConfig) -> str:
    """The family that can hold a model, if any can."""
    if config.layer_scale is None:
        return "vit"
    return "dinov2_with_registers" if config.registers else "dinov2"


def settings_of(bundle: Bundle, config: ViTConfig, kind: str) -> dict[str, Any]:
    written = WRITTEN[kind]
    names = bundle.classes or tuple(f"LABEL_{index}" for index in range(config.classes))
    ending = "ForImageClassification" if config.classes else "Model"
    square = config.image_size[0] == config.image_size[1]
    settings: dict[str, Any] = {
        "model_type": kind, "architectures": [written.architecture + ending], "hidden_size": config.width,
        "num_hidden_layers": config.depth, "num_attention_heads": config.heads,
        "image_size": config.image_size[0] if square else list(config.image_size), "patch_size": config.patch[0],
        "num_channels": config.channels, "qkv_bias": config.qkv_bias, "layer_norm_eps": config.norm_eps,
        "hidden_act": {ours: theirs for theirs, ours in reversed(ACTIVATIONS.items())}.get(config.feedforward, "gelu"),
        "hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0,
        "id2label": {str(index): name for index, name in enumerate(names)},
        "label2id": {name: index for index, name in enumerate(names)},
        **written.settings(config)}
    if bundle.activation == "sigmoid":
        settings["problem_type"] = "multi_label_classification"
    return settings
