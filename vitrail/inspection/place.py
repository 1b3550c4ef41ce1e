"""Does the model know what lies beside what: cosine similarity of position embeddings (paper, Figure 7)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float

from vitrail.models import AxialResNet, Model, ViT
from vitrail.models.vit.config import PositionKind
from vitrail.models.vit.patches import places_of
from vitrail.vocabulary import Tokens

NOTHING_ADDED: dict[PositionKind, str] = {
    "none": "The model has no position embeddings.",
    "relative": "Relative positions act on attention scores; there is no vector for each place to compare.",
    "relative-bias": "A bias by offset acts on attention scores; there is no vector for each place to compare.",
    "rotary-2d": "Rotary positions turn queries and keys; there is no vector for each place to compare.",
}


MOST_PATCHES = 4096
"""Every patch is compared with every other one; beyond this the table would take gigabytes."""


@dataclass(frozen=True)
class PositionSimilarity:
    """`tiles` float32 [rows, columns, rows, columns]: tiles[r, c] is the picture of how alike the embedding of the
    patch at (r, c) is to each other one, -1 to 1. None where there is nothing to compare, and `reason` says why."""

    tiles: Float[np.ndarray, "rows columns rows columns"] | None
    reason: str = ""


@torch.inference_mode()
def position_similarity(model: Model) -> PositionSimilarity:
    """Similarity of what is added to the patches before the first block, found by adding it to zeros."""
    if isinstance(model, AxialResNet):
        return PositionSimilarity(None, NOTHING_ADDED["relative"])
    if not isinstance(model, ViT):
        return PositionSimilarity(None, "A ResNet has no position embeddings; its convolutions know their neighbors.")
    config = model.config
    if config.positions in NOTHING_ADDED:
        return PositionSimilarity(None, NOTHING_ADDED[config.positions])
    if config.patches > MOST_PATCHES:
        return PositionSimilarity(None, f"{config.patches:,} places are too many to compare with one another.")
    weight = next(model.parameters())
    tokens = Tokens(weight.new_zeros(1, config.patches, config.width), places_of(config.grid, weight.device),
                    config.grid)
    added = model.encoder.positions.at(0).add(weight.new_zeros(1, config.tokens, config.width), tokens)
    table = added[0, config.prefix :].double().cpu().numpy()
    lengths = np.linalg.norm(table, axis=1, keepdims=True)
    directions = table / np.where(lengths == 0, 1, lengths)
    tiles = (directions @ directions.T).clip(-1, 1).reshape(*config.grid, *config.grid)
    return PositionSimilarity(tiles.astype(np.float32))
