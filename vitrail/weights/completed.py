"""What is added to a reading that its file does not hold: the profile that the user names, ImageNet-1k's class names,
the hub that it came from."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import torch

from vitrail.bundle import Bundle, BundleConfig
from vitrail.models import build
from vitrail.weights.class_names import SAID, imagenet1k
from vitrail.weights.contract import Reading, Told
from vitrail.weights.opened import Opened
from vitrail.weights.profiles import under

IMAGENET_FORMATS = ("official", "big_vision", "bit", "timm")
"""Whose published heads of a thousand outputs are all of ImageNet-1k."""


def completed(reading: Reading, given: Opened, told: Told, hub: dict[str, Any] | None = None) -> Reading:
    """`hub`: provenance of a file that was fetched. Raises UnknownNameError for a profile."""
    config = reading.config
    notes = [*config.provenance.get("notes", []), *(hub or {}).get("notes", [])]
    if told.profile is not None:
        before, config = config, under(config, told.profile)
        if given.settings or given.container == "npz":  # what the file or its format says is overruled
            notes += changed_by(told.profile, before, config)
    if config.classes is None and config.model.classes == len(imagenet1k()) and implies_imagenet(config, given):
        config = config.model_copy(update={"classes": imagenet1k()})
        notes.append(SAID)
    provenance = config.provenance | (hub or {}) | ({"notes": notes} if notes else {})
    config = config.model_copy(update={"provenance": provenance})
    return replace(reading, config=config, load=lambda: fitted(reading.load(), config))


def changed_by(profile: str, before: BundleConfig, after: BundleConfig) -> list[str]:
    """What a profile replaces of the numbers that the format implies: answers change with them."""
    old, new = before.model.model_dump(), after.model.model_dump()
    words = [f"{name} {old[name]} by {value}" for name, value in new.items() if old[name] != value]
    return [f"--profile {profile} replaces {', '.join(words)}."] if words else []


def implies_imagenet(config: BundleConfig, given: Opened) -> bool:
    said = "label_names" in given.settings  # it says that there are none
    return given.settings.get("model_type") == "deit" or (
        config.provenance.get("format") in IMAGENET_FORMATS and not said)


def fitted(bundle: Bundle, config: BundleConfig) -> Bundle:
    """The same weights in the model that `config` describes."""
    model = bundle.model
    if config.model != model.config:
        with torch.device("meta"):
            model = build(config.model)
        model.load_state_dict(bundle.model.state_dict(), assign=True)
        model.eval().requires_grad_(False)
    return Bundle(model, config.preprocess, config.classes, config.activation, dict(config.provenance), bundle.decoder)
