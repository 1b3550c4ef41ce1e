"""What stands between the layers of any model: patch features after each block, on their grid."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from vitrail.bundle import Bundle
from vitrail.inspection.lens import encoded, evaluating, grid_of, in_batches, normalized
from vitrail.inspection.trace import outputs
from vitrail.models import BiT, Model, ViT
from vitrail.vocabulary import RawImages

ENTERED = "encoder.pre_norm"
"""The module whose output enters the first block of a transformer: patches with their positions."""

See = Callable[[str, Tensor], None]
"""Name of a layer, its patch features [batch, width, rows, columns]."""


def layers_of(model: Model, *, entered: bool = False) -> list[str]:
    """Module names of what repeats: blocks of a transformer, units of a ResNet. `entered`: before them, what enters
    the first block."""
    if isinstance(model, ViT):
        return [ENTERED] * entered + [f"encoder.blocks.{layer}" for layer in range(model.config.depth)]
    assert isinstance(model, BiT)
    return [f"stages.{stage}.{unit}" for stage, units in enumerate(model.config.depths) for unit in range(units)]


def layer_word(name: str) -> str:
    """ "encoder.blocks.3" -> "block 4"; "stages.1.0" -> "unit 2.1"; counted from 1."""
    if name == ENTERED:
        return "before block 1"
    kind, *numbers = name.removeprefix("encoder.").split(".")
    counted = ".".join(str(int(number) + 1) for number in numbers)
    return f"{'block' if kind == 'blocks' else 'unit'} {counted}"


@torch.inference_mode()
def watch_layers(bundle: Bundle, raw: RawImages, names: list[str], see: See, batch_size: int = 8) -> None:
    """Run the model over the images and show each layer's patch features as they pass; none is kept."""
    model = bundle.model

    def spread_out(name: str, left: Tensor) -> None:
        if isinstance(model, ViT):
            grid = grid_of(model, raw)
            left = left[:, model.config.prefix:].transpose(1, 2).unflatten(2, grid)
        see(name, left)

    with evaluating(model), outputs(model, names, spread_out):
        for part in in_batches(raw, batch_size):
            if isinstance(model, ViT):
                encoded(bundle, part)
            else:
                model.feature_map(normalized(bundle, part))


def layer_features(bundle: Bundle, raw: RawImages, names: list[str],
                   batch_size: int = 8) -> dict[str, Float[np.ndarray, "images width rows columns"]]:
    """All of them, for few images."""
    found: dict[str, list[np.ndarray]] = {name: [] for name in names}
    watch_layers(bundle, raw, names, lambda name, left: found[name].append(left.float().cpu().numpy()), batch_size)
    return {name: np.concatenate(parts) for name, parts in found.items()}


def evenly(total: int, most: int) -> list[int]:
    """At most so many of the places from 0 to `total` - 1, from the first to the last."""
    chosen: list[int] = np.linspace(0, total - 1, min(total, most)).round().astype(int).tolist()
    return chosen
