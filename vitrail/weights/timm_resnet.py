"""timm's ResNets: `resnetv2_*_bit` state dicts, and the ResNet in front of its hybrids (`patch_embed.backbone`).

Numbers: group norms of epsilon 1e-5 and 1e-8 beside the variance of kernels in both; zeros around the map before
BiT's pool (`stem_type="fixed"`). A BiT with another epsilon beside the variance (the official 1e-10) is written with
its kernels scaled, so that its answers stay; whoever trains it on in timm meets kernels of another scale.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any, cast

from torch import Tensor

from vitrail.bundle import Bundle, BundleConfig
from vitrail.errors import BundleError
from vitrail.models import BiT, BiTConfig, HybridConfig
from vitrail.models.convolution import unit_sizes
from vitrail.weights.contract import Reading, config_of
from vitrail.weights.known import checked, name_of, origin
from vitrail.weights.layout import Rule, lay_out, norm, reading, refuse_numerics, same, shape_of
from vitrail.weights.opened import Opened, Shapes
from vitrail.weights.resnet import NORMS, depths_of, kernels, width_of, with_epsilon
from vitrail.weights.timm_settings import Settings, class_names, model_args, preprocess_of, settings_of, stated_size

BACKBONE = "patch_embed.backbone."
SHORTCUT = {"projection": "downsample.conv", "projection_norm": "downsample.norm"}
ARCHITECTURES = ("R50x1", "R50x3", "R101x1", "R101x3", "R152x2", "R152x4")
"""Those that timm has by name."""

EPSILON = 1e-8
NUMERICS = {"norm_eps": (1e-5,), "standardize": ("variance",), "standardize_eps": (EPSILON,)}
STEM_NUMERICS = {f"stem_{name}": values for name, values in NUMERICS.items()}
USUAL_SIZE = (224, 224)
ASSUMED = ("A bare timm file: images of mean and standard deviation 0.5 are assumed, and of 224 x 224 pixels unless "
           "another size is told, as in pre-training. Put its config.json beside it.")


# BiT.


def recognize(shapes: Shapes) -> bool:
    return all(name in shapes for name in ("stem.conv.weight", "stages.0.blocks.0.norm3.weight", "norm.weight"))


def read(given: Opened, format_name: str) -> Reading:
    notes = [] if given.settings else [ASSUMED]
    model = configure(given)
    preprocess = preprocess_of(given, model.image_size, notes, fraction=0.875, interpolation="bilinear")
    config = BundleConfig(model=model, preprocess=preprocess, classes=class_names(given, model.classes),
                          activation="softmax", provenance=origin(given, format_name, notes))
    return reading(config, rules(model), given)


def written(bundle: Bundle, format_name: str) -> tuple[dict[str, Tensor], Settings]:
    """Tensors and settings."""
    config_of(bundle, format_name, BiTConfig)
    model = with_epsilon(cast(BiT, bundle.model), EPSILON)
    config = model.config
    refuse_numerics(config, NUMERICS, format_name)
    architecture, arguments = architecture_of(config)
    return (lay_out(model, rules(config), format_name),
            settings_of(bundle, architecture, config.embedding, "avg", arguments))


def architecture_of(config: BiTConfig) -> tuple[str, Settings]:
    """Its name in timm, and what does not follow from that."""
    name, arguments = name_of(config), {"in_chans": config.channels}
    if name in ARCHITECTURES:
        return f"resnetv2_{name.removeprefix('R')}_bit", arguments
    return "resnetv2", {"layers": config.depths, "width_factor": config.width, "stem_type": "fixed", **arguments}


def configure(given: Opened) -> BiTConfig:
    """The model from names, shapes and settings. Raises BundleError."""
    shapes, said = given.shapes, model_args(given)
    stem, pool = said.get("stem_type", "fixed"), given.settings.get("global_pool", "avg")
    if stem != "fixed" or pool != "avg":
        raise BundleError(f"{given.path} is no BiT: its stem is {stem!r} and it pools by {pool!r}, not 'fixed' and "
                          "'avg'.")
    root, channels, *_ = shape_of(shapes, "stem.conv.weight", 4, given.path)
    return checked(given, {
        "image_size": stated_size(given) or USUAL_SIZE, "channels": channels, "width": width_of(root),
        "depths": depths_of(shapes, r"stages\.(\d{1,3})\.blocks\.(\d{1,3})\."),
        "classes": shape_of(shapes, "head.fc.weight", 4, given.path)[0] if "head.fc.weight" in shapes else 0,
        **{name: values[0] for name, values in NUMERICS.items()},
    }, BiTConfig)


def rules(config: BiTConfig) -> Iterator[Rule]:
    yield same("root.weight", "stem.conv.weight", (config.root, config.channels, 7, 7))
    for size in unit_sizes(config.root, config.depths):
        ours, theirs = f"stages.{size.stage}.{size.number}.", f"stages.{size.stage}.blocks.{size.number}."
        for name, shape in kernels(size).items():
            yield same(f"{ours}{name}.weight", f"{theirs}{SHORTCUT.get(name, name)}.weight", shape)
            if name != "projection":
                yield from norm(ours + NORMS[name], theirs + NORMS[name], shape[1])
    yield from norm("norm", "norm", config.embedding)
    if config.classes:
        yield same("head.weight", "head.fc.weight", (config.classes, config.embedding, 1, 1))
        yield same("head.bias", "head.fc.bias", (config.classes,))


# In front of a hybrid.


def stem_of(shapes: Shapes) -> str | None:
    """Where its root is: R+Ti/16 has no more than that. None where no ResNet of this kind is in front."""
    return next((stem for stem in (f"{BACKBONE}stem.", BACKBONE) if f"{stem}conv.weight" in shapes), None)


def stem_fields(given: Opened, stem: str) -> dict[str, Any]:
    """What a HybridConfig has more, and the channels of the image."""
    root, channels, *_ = shape_of(given.shapes, f"{stem}conv.weight", 4, given.path)
    return {"channels": channels, "stem_width": width_of(root),
            "stem_depths": depths_of(given.shapes, re.escape(BACKBONE) + r"stages\.(\d{1,3})\.blocks\.(\d{1,3})\."),
            **{name: values[0] for name, values in STEM_NUMERICS.items()}}


def stem_rules(config: HybridConfig) -> Iterator[Rule]:
    here, there = "patchify.stem.", f"{BACKBONE}stem." if config.stem_depths else BACKBONE
    yield same(f"{here}root.weight", f"{there}conv.weight", (config.stem_root, config.channels, 7, 7))
    yield from norm(f"{here}norm", f"{there}norm", config.stem_root)
    for size in unit_sizes(config.stem_root, config.stem_depths):
        stage, number, *_ = size
        ours, theirs = f"{here}stages.{stage}.{number}.", f"{BACKBONE}stages.{stage}.blocks.{number}."
        for name, shape in kernels(size).items():
            own = NORMS[name]
            yield same(f"{ours}{name}.weight", f"{theirs}{SHORTCUT.get(name, name)}.weight", shape)
            yield from norm(ours + own, theirs + SHORTCUT.get(own, own), shape[0])
