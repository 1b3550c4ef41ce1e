"""BiT's ResNets: `.npz` of google-research/big_transfer, `resnet/block1/unit01/a/standardized_conv2d/kernel` and so on.

Numbers: group norms of epsilon 1e-5, 1e-10 beside the variance of kernels, zeros around the map before the pool.
Pictures: squashed to the size, values -1 to 1, as `bit_pytorch/train.py` evaluates. A file does not say the size.
A model with another epsilon beside the variance (timm's, 1e-8) is written with its kernels scaled, so that its answers
stay. Source of the names: paper.md, section 3.3.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import ClassVar, cast

from vitrail.bundle import Bundle, BundleConfig
from vitrail.data.preprocess import Preprocess
from vitrail.errors import BundleError
from vitrail.models import BiT, BiTConfig
from vitrail.models.convolution import unit_sizes
from vitrail.weights.contract import Format, Reading, Told, config_of
from vitrail.weights.known import checked, origin
from vitrail.weights.layout import Rule, convolution, lay_out, reading, refuse_numerics, same, shape_of
from vitrail.weights.npz import write_npz
from vitrail.weights.opened import Opened, Shapes
from vitrail.weights.resnet import NORMS, depths_of, kernels, width_of, with_epsilon

PREFIX = "resnet/"
CONVOLUTION, NORM, HEAD = "standardized_conv2d/kernel", "group_norm", "head/conv2d"
ROOT = f"root_block/{CONVOLUTION}"
NUMBERED = re.compile(r"(?<=/standardized_conv2d)_\d+(?=/)")
"""Some files count their convolutions: `standardized_conv2d_17`."""

PARTS = {"conv1": "a", "conv2": "b", "conv3": "c", "projection": "a/proj"}
EPSILON = 1e-10
NUMERICS = {"norm_eps": (1e-5,), "standardize": ("variance",), "standardize_eps": (EPSILON,)}
USUAL_SIZE = (224, 224)
ASSUMED = ("The file does not say what image size it is for: 224 x 224 pixels are assumed, as in pre-training. "
           "Those that were fine-tuned on ImageNet were evaluated at 480 x 480; say an image size to have it.")


class Bit(Format):
    name: ClassVar[str] = "bit"
    describes: ClassVar[str] = "google-research/big_transfer BiT .npz"

    def recognize(self, given: Opened) -> bool:
        return given.container == "npz" and prefix_of(given.shapes) is not None

    def read(self, given: Opened, told: Told) -> Reading:
        prefix, stored = prefix_of(given.shapes) or "", stored_names(given)
        shapes = {name: given.shapes[there] for name, there in stored.items()}
        model = configure(given, shapes, prefix)
        config = BundleConfig(model=model, preprocess=Preprocess(size=model.image_size), classes=None,
                              activation="softmax",
                              provenance=origin(given, self.name, [] if told.image_size else [ASSUMED]))
        return reading(config, rules(model, prefix), given, shapes, lambda name: given.tensor(stored[name]))

    def write(self, bundle: Bundle, path: Path) -> Path:
        config_of(bundle, self.name, BiTConfig)
        model = with_epsilon(cast(BiT, bundle.model), EPSILON)
        refuse_numerics(model.config, NUMERICS, self.name)
        tensors = lay_out(model, rules(model.config, PREFIX), self.name)
        return write_npz(path, {name: value.numpy() for name, value in tensors.items()})


def prefix_of(shapes: Shapes) -> str | None:
    """In front of every key, whatever it is, or None where this is no BiT."""
    for name in shapes:
        plain = NUMBERED.sub("", name)
        if plain.endswith(ROOT) and f"{plain.removesuffix(ROOT)}{NORM}/gamma" in shapes:
            return plain.removesuffix(ROOT)
    return None


def stored_names(given: Opened) -> dict[str, str]:
    """The keys without numbers, and as they are in the file."""
    stored: dict[str, str] = {}
    for name in given.shapes:
        if (plain := NUMBERED.sub("", name)) in stored:
            raise BundleError(f"{given.path} holds {plain} twice: as {stored[plain]} and as {name}.")
        stored[plain] = name
    return stored


def configure(given: Opened, shapes: Shapes, prefix: str) -> BiTConfig:
    """The model from names and shapes alone. Raises BundleError."""
    *_, channels, root = shape_of(shapes, prefix + ROOT, 4, given.path)
    head = f"{prefix}{HEAD}/kernel"
    return checked(given, {
        "image_size": USUAL_SIZE, "channels": channels, "width": width_of(root),
        "depths": depths_of(shapes, re.escape(prefix) + r"block(\d{1,3})/unit(\d{1,3})/"),
        "classes": shape_of(shapes, head, 4, given.path)[3] if head in shapes else 0,
    }, BiTConfig)


def rules(config: BiTConfig, prefix: str) -> Iterator[Rule]:
    yield convolution("root.weight", prefix + ROOT, (config.root, config.channels, 7, 7))
    for size in unit_sizes(config.root, config.depths):
        ours = f"stages.{size.stage}.{size.number}."
        theirs = f"{prefix}block{size.stage + 1}/unit{size.number + 1:02}/"
        for name, shape in kernels(size).items():
            yield convolution(f"{ours}{name}.weight", f"{theirs}{PARTS[name]}/{CONVOLUTION}", shape)
            if name != "projection":
                yield from norm(ours + NORMS[name], f"{theirs}{PARTS[name]}/{NORM}", shape[1])
    yield from norm("norm", prefix + NORM, config.embedding)
    if config.classes:
        yield convolution("head.weight", f"{prefix}{HEAD}/kernel", (config.classes, config.embedding, 1, 1))
        yield same("head.bias", f"{prefix}{HEAD}/bias", (config.classes,))


def norm(ours: str, theirs: str, channels: int) -> list[Rule]:
    return [same(f"{ours}.weight", f"{theirs}/gamma", (channels,)), same(f"{ours}.bias", f"{theirs}/beta", (channels,))]
