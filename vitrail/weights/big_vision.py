"""google-research/big_vision's ViTs: `.npz` with `params/` in front of each key (other prefixes are read too).

Numbers as the official ones. A class token, average or attention pooling (MAP); learned positions, added before the
class token joins, or fixed sines and cosines; `rep_size` is the tanh layer. A file with sines and cosines does not say
which image size it is for. Pictures: resized to cover 256 / 224 of the size, then the middle; values -1 to 1.
"""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

from vitrail.bundle import Bundle
from vitrail.data.preprocess import Preprocess
from vitrail.models import ViTConfig
from vitrail.weights import flax, flax_resnet
from vitrail.weights.contract import Format, Reading, Told, config_of
from vitrail.weights.layout import refuse_numerics
from vitrail.weights.opened import Opened


class BigVision(Format):
    name: ClassVar[str] = "big_vision"
    describes: ClassVar[str] = "google-research/big_vision ViT .npz"

    def recognize(self, given: Opened) -> bool:
        prefix = flax.prefix_of(given.shapes)
        return given.container == "npz" and prefix is not None and not given.shapes.keys() & {
            f"{prefix}{flax.OFFICIAL.positions}", f"{prefix}{flax_resnet.ROOT}"}

    def read(self, given: Opened, told: Told) -> Reading:
        return flax.read(given, told, self.name, lambda config: Preprocess(
            size=config.image_size, resize="crop", crop_fraction=0.875))

    def write(self, bundle: Bundle, path: Path) -> Path:
        numerics = flax.NUMERICS | {"positions": ("learned", "sincos-2d"), "pooling": ("token", "mean", "attention")}
        config = config_of(bundle, self.name, ViTConfig)
        refuse_numerics(config, numerics, self.name)
        return flax.write(bundle, config, flax.BIG_VISION, path, self.name)
