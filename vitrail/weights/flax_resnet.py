"""The ResNet in front of an official hybrid: `conv_root`, `gn_root`, `block1/unit1/conv1` and so on.

Sources of the names: paper.md, section 3.2. `R+Ti/16` has the root alone.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from vitrail.models import HybridConfig
from vitrail.models.convolution import unit_sizes
from vitrail.weights.layout import Rule, convolution, same
from vitrail.weights.opened import Shapes
from vitrail.weights.resnet import NORMS, depths_of, kernels, width_of

ROOT, ROOT_NORM = "conv_root/kernel", "gn_root"
PLACES = {"conv1": "1", "conv2": "2", "conv3": "3", "projection": "_proj"}
NUMERICS = {"stem_norm_eps": (1e-6,), "stem_standardize": ("deviation",), "stem_standardize_eps": (1e-5,)}


def fields(root: tuple[int, ...], shapes: Shapes, prefix: str) -> dict[str, Any]:
    """What a HybridConfig has more, and the channels of the image. `root`: shape of the first kernel."""
    return {"channels": root[2], "stem_width": width_of(root[3]),
            "stem_depths": depths_of(shapes, re.escape(prefix) + r"block(\d{1,3})/unit(\d{1,3})/")}


def rules(config: HybridConfig, prefix: str, wide_norms: bool) -> Iterator[Rule]:
    """`wide_norms`: they lie as [1, 1, 1, channels]."""
    stem, axes = "patchify.stem.", (1, 1, 1) if wide_norms else ()

    def norm(ours: str, theirs: str, channels: int) -> list[Rule]:
        return [same(f"{ours}.{here}", f"{prefix}{theirs}/{there}", (*axes, channels))
                for here, there in (("weight", "scale"), ("bias", "bias"))]

    yield convolution(f"{stem}root.weight", prefix + ROOT, (config.stem_root, config.channels, 7, 7))
    yield from norm(f"{stem}norm", ROOT_NORM, config.stem_root)
    for size in unit_sizes(config.stem_root, config.stem_depths):
        ours, theirs = f"{stem}stages.{size.stage}.{size.number}.", f"block{size.stage + 1}/unit{size.number + 1}/"
        for name, shape in kernels(size).items():
            place = PLACES[name]
            yield convolution(f"{ours}{name}.weight", f"{prefix}{theirs}conv{place}/kernel", shape)
            yield from norm(ours + NORMS[name], f"{theirs}gn{place}", shape[0])
