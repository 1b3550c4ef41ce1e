"""The `config.json` beside timm's weights: the arguments of the model, its pictures, the names of its classes."""

from __future__ import annotations

from typing import Any

from vitrail.bundle import Bundle
from vitrail.data.preprocess import Preprocess
from vitrail.vocabulary import Size
from vitrail.weights.known import pair, prepared
from vitrail.weights.opened import Opened

HALF = (0.5, 0.5, 0.5)


def model_args(given: Opened) -> dict[str, Any]:
    said = given.settings.get("model_args")
    return said if isinstance(said, dict) else {}


def pretrained(given: Opened) -> dict[str, Any]:
    said = given.settings.get("pretrained_cfg")
    return said if isinstance(said, dict) else {}


def stated_size(given: Opened) -> Size | None:
    said = model_args(given).get("img_size", pretrained(given).get("input_size"))
    return pair(said[-2:] if isinstance(said, list) else said)


def preprocess_of(given: Opened, size: Size, notes: list[str], *, fraction: float, interpolation: str) -> Preprocess:
    """timm's `create_transform` for evaluation: the shorter side to size / crop_pct, then the middle. `fraction` and
    `interpolation`: where it does not say them."""
    said = pretrained(given)
    squash = said.get("crop_mode") == "squash"
    fraction, interpolation = said.get("crop_pct", fraction), said.get("interpolation", interpolation)
    if interpolation not in ("bilinear", "bicubic"):
        notes.append(f"Pictures are resized bicubically instead of {interpolation!r}.")
        interpolation = "bicubic"
    return prepared(given, size=size, resize="squash" if squash else "crop", crop_fraction=1.0 if squash else fraction,
                    interpolation=interpolation, mean=said.get("mean", HALF), std=said.get("std", HALF))


def class_names(given: Opened, classes: int) -> tuple[str, ...] | None:
    """Where the settings have them: the words for people before the names for programs."""
    names = given.settings.get("label_names", pretrained(given).get("label_names"))
    words = given.settings.get("label_descriptions", pretrained(given).get("label_descriptions"))
    if not isinstance(names, list) or len(names) != classes or not classes:
        return None
    words = words if isinstance(words, dict) else {}
    return tuple(str(words.get(name, name)) for name in names)


Settings = dict[str, Any]


def settings_of(bundle: Bundle, architecture: str, features: int, pool: str, arguments: Settings) -> Settings:
    """What timm's own readers need, and ours. `arguments`: of the model's class in timm."""
    config, preprocess = bundle.model.config, bundle.preprocess
    return {
        "architecture": architecture, "num_classes": config.classes, "num_features": features,
        "global_pool": pool, "model_args": arguments, "label_names": list(bundle.classes or ()),
        "pretrained_cfg": {
            "input_size": [config.channels, *preprocess.size], "mean": list(preprocess.mean),
            "std": list(preprocess.std), "interpolation": preprocess.interpolation,
            "crop_pct": preprocess.crop_fraction,
            "crop_mode": "squash" if preprocess.resize == "squash" else "center",
        },
    }
