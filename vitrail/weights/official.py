"""The paper's own checkpoints: `.npz` of google-research/vision_transformer, ViTs and hybrids, AugReg, SAM and GSAM.

Numbers: GELU by tanh, epsilon 1e-6, positions resampled bilinearly with aligned corners. Pictures: squashed to the
model's size, values -1 to 1. The raw ImageNet-21k files have an all-zero head, but a real `pre_logits` layer.
"""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

from vitrail.bundle import Bundle
from vitrail.data.preprocess import Preprocess
from vitrail.models import HybridConfig, ViTConfig
from vitrail.weights import flax, flax_resnet
from vitrail.weights.contract import Format, Reading, Told, config_of
from vitrail.weights.layout import refuse_numerics
from vitrail.weights.opened import Opened


class Official(Format):
    name: ClassVar[str] = "official"
    describes: ClassVar[str] = "google-research/vision_transformer .npz"

    def recognize(self, given: Opened) -> bool:
        prefix = flax.prefix_of(given.shapes)
        return (given.container == "npz" and prefix is not None
                and f"{prefix}{flax.OFFICIAL.positions}" in given.shapes)

    def read(self, given: Opened, told: Told) -> Reading:
        return flax.read(given, told, self.name, lambda config: Preprocess(size=config.image_size))

    def write(self, bundle: Bundle, path: Path) -> Path:
        config: ViTConfig = config_of(bundle, self.name, ViTConfig, HybridConfig)
        numerics = flax.NUMERICS | {"positions": ("learned",), "pooling": ("token", "mean")}
        if isinstance(config, HybridConfig):
            numerics |= flax_resnet.NUMERICS
        refuse_numerics(config, numerics, self.name)
        dialect = flax.OFFICIAL if config.pooling == "token" else flax.LINEN
        return flax.write(bundle, config, dialect, path, self.name)
