"""What a family of checkpoints is: everything that one `model_type` of `transformers` does in its own way.

A new family is one file with a `Family` in it and one line in FAMILIES; where its folders are written, a `Written` and
one line in WRITTEN. The format does the rest: it completes the settings with the defaults, finds the prefix, leaves out
what is ignored and says so, and compares keys and shapes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor

from vitrail.models import ViTConfig
from vitrail.weights.layout import Rule, layer
from vitrail.weights.opened import Opened

Settings = Mapping[str, Any]

BASE: Settings = {"hidden_size": 768, "intermediate_size": 3072, "num_hidden_layers": 12, "num_attention_heads": 12,
                  "image_size": 224, "patch_size": 16, "num_channels": 3, "hidden_act": "gelu"}
"""What `transformers` takes for most families where config.json does not say."""

IMAGENET = {"mean": (0.485, 0.456, 0.406), "std": (0.229, 0.224, 0.225)}
HALF = {"mean": (0.5, 0.5, 0.5), "std": (0.5, 0.5, 0.5)}
SQUASHED = {"resize": "squash", "interpolation": "bilinear"}
CENTRAL = {"resize": "crop", "crop_fraction": 224 / 256, "interpolation": "bicubic", "size": 224}


def classifier(config: ViTConfig) -> Iterable[Rule]:
    """The head of most families."""
    return layer("head", "classifier", config.classes, config.embedding) if config.classes else ()


@dataclass(frozen=True)
class Family:
    """`fields`: a folder -> fields of the ViTConfig beyond what the settings of all families say alike. The folder's
    settings are complete, and its keys are without prefix and without those that are ignored.

    `body`: where the parameters lie in the file, up to the last norm or the pooling, keys without prefix. `head`: the
    rest, whose keys have none. `prefix`: stands before the body's keys where a file holds more than the body.
    `ignored`: keys that features and logits do not need, as patterns, and what to call them in a note.
    `assumed`: what is taken for granted of a folder, for its notes.
    `defaults`: settings where config.json does not say. `section`: the part of it that is for the image tower, where a
    model has another. `usual`: preprocessing where preprocessor_config.json does not say.
    """

    defaults: Settings
    usual: Mapping[str, Any]
    fields: Callable[[Opened], dict[str, Any]]
    body: Callable[[ViTConfig, Settings], Iterable[Rule]]
    head: Callable[[ViTConfig], Iterable[Rule]] = classifier
    prefix: str = ""
    section: str = ""
    ignored: Mapping[str, str] = field(default_factory=dict)
    assumed: Callable[[Opened], list[str]] = lambda given: []


@dataclass(frozen=True)
class Written:
    """How folders of a family are written.

    `architecture`: their class begins with it. `allowed`: what such a folder can say, by field of the config.
    `settings`: those beyond what all families share. `extra`: tensors without a meaning to us that their code misses.
    """

    architecture: str
    allowed: Callable[[ViTConfig], Mapping[str, Sequence[object]]]
    settings: Callable[[ViTConfig], Settings]
    extra: Callable[[ViTConfig], dict[str, Tensor]] = lambda config: {}
