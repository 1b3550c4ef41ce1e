"""A trained model at another image size: what training at that size starts from (paper, section 3.2)."""

from __future__ import annotations

import torch

from vitrail.models.families import Model, build
from vitrail.models.vit.positions.relative import Relative
from vitrail.models.vit.vit import ViT
from vitrail.vocabulary import Size


@torch.no_grad()
def at_size(model: Model, image_size: Size) -> Model:
    """The same weights, a ViT's position tables resampled once, by the rule in the config. Any model also takes
    images of other sizes as it is, and resamples on every call; the paper's relative keys are only read that way,
    so such a model comes back unchanged."""
    tables = model.encoder.positions.tables if isinstance(model, ViT) else ()
    if image_size == model.config.image_size or any(isinstance(table, Relative) for table in tables):
        return model
    config = model.config.at_size(image_size)
    weights = model.state_dict()
    for number, table in enumerate(tables):
        changed = table.resampled(config.grid)  # type: ignore[operator]
        weights |= {f"encoder.positions.tables.{number}.{name}": value for name, value in changed.items()}
    with torch.device("meta"):
        other = build(config)
    other.load_state_dict(weights, assign=True)
    return other.train(model.training).requires_grad_(next(model.parameters()).requires_grad)
