"""A trained model at another image size: what training at that size starts from (paper, section 3.2)."""

from __future__ import annotations

import torch

from vitrail.models.vit.positions import Positions
from vitrail.models.vit.positions.relative import Relative
from vitrail.models.vit.vit import ViT
from vitrail.vocabulary import Size


@torch.no_grad()
def at_size(model: ViT, image_size: Size) -> ViT:
    """The same weights with the position tables resampled once, by the rule in the config. Any model also takes
    images of other sizes as it is, and resamples on every call; the paper's relative keys are only read that way,
    so such a model comes back unchanged."""
    positions: Positions = model.encoder.positions
    if image_size == model.config.image_size or any(isinstance(table, Relative) for table in positions.tables):
        return model
    config = model.config.at_size(image_size)
    weights = model.state_dict()
    for number, table in enumerate(positions.tables):
        changed = table.resampled(config.grid)  # type: ignore[operator]
        weights |= {f"encoder.positions.tables.{number}.{name}": value for name, value in changed.items()}
    with torch.device("meta"):
        other = ViT(config)
    other.load_state_dict(weights, assign=True)
    return other.train(model.training).requires_grad_(next(model.parameters()).requires_grad)
