"""Does the model know what lies beside what: cosine similarity of position embeddings (paper, Figure 7), or what takes
their place inside attention; and how well rows and columns can be read off the patches, layer by layer."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from vitrail.bundle import Bundle
from vitrail.inspection.layers import layer_features, layer_word, layers_of
from vitrail.inspection.lens import transformer
from vitrail.models import AxialResNet, Model, ViT
from vitrail.models.vit.patches import places_of
from vitrail.vocabulary import RawImages, Tokens

Kind = Literal["added", "turned", "offsets", "favored"]

KINDS: dict[Kind, str] = {
    "added": "how alike its position embedding is to that of every other place (cosine similarity)",
    "turned": "how much of a match between query and key the rotary positions leave at every other place",
    "offsets": "how alike the learned vector of its offset to every other place is to that of no offset (cosine)",
    "favored": "the scores that the first layer adds for every other place, heads averaged, as shares of the largest",
}

MOST_PATCHES = 4096
"""Every patch is compared with every other one; beyond this the table would take gigabytes."""

READ_IMAGES, LEAST_READ = 32, 4
"""Images of which places are read off, at most and at least: half of them to learn from, half to measure."""

READ_PATCHES = 8_192
"""Patches of them all, at most, but for 16 images: features of all layers are in memory at once."""

PENALTIES = (1e-3, 1e-2, 1e-1, 1.0, 10.0, 100.0)


@dataclass(frozen=True)
class PositionSimilarity:
    """`tiles` float32 [rows, columns, rows, columns]: tiles[r, c] is the picture of how alike the patch at (r, c) is to
    each other one by its place alone, -1 to 1. None where there is nothing to compare, and `reason` says why.

    `kind`: "added", cosine similarity of the vectors that are added to the patches; "turned", what rotary positions
    leave of the match of a query and a key that would match fully at the same place; "offsets", cosine similarity of
    the first layer's vectors of offsets to that of no offset; "favored", scores that the first layer adds, as shares of
    the largest one. Heads are averaged.
    """

    tiles: Float[np.ndarray, "rows columns rows columns"] | None
    reason: str = ""
    kind: Kind = "added"


@torch.inference_mode()
def position_similarity(model: Model) -> PositionSimilarity:
    """Found by asking the model's own positions, with patches that have no content."""
    if isinstance(model, AxialResNet):
        return PositionSimilarity(None, "Relative positions act on attention scores inside every unit; its maps have "
                                        "many sizes, so there is no one picture of them.")
    if not isinstance(model, ViT):
        return PositionSimilarity(None, "A ResNet has no position embeddings; its convolutions know their neighbors.")
    config = model.config
    if config.positions == "none":
        return PositionSimilarity(None, "The model has no position embeddings.")
    if config.patches > MOST_PATCHES:
        return PositionSimilarity(None, f"{config.patches:,} places are too many to compare with one another.")
    if config.positions == "rotary-2d":
        return on_grid(model, turned(model), "turned")
    if config.positions == "relative":
        return on_grid(model, by_offset(model), "offsets")
    if config.positions == "relative-bias":
        return on_grid(model, favored(model), "favored")
    return on_grid(model, added(model), "added")


def on_grid(model: ViT, alike: Float[np.ndarray, "patches patches"], kind: Kind) -> PositionSimilarity:
    grid = model.config.grid
    return PositionSimilarity(alike.clip(-1, 1).reshape(*grid, *grid).astype(np.float32), "", kind)


def added(model: ViT) -> Float[np.ndarray, "patches patches"]:
    """Of the vectors that are added before the first block."""
    config, weight = model.config, next(model.parameters())
    table = model.encoder.positions.at(0).add(weight.new_zeros(1, config.tokens, config.width), blank(model))
    return cosines(table[0, config.prefix:])


def turned(model: ViT) -> Float[np.ndarray, "patches patches"]:
    """Of one vector with all pairs equally long, turned as a query or key at each place would be."""
    config, weight = model.config, next(model.parameters())
    ones = torch.ones(1, 1, config.tokens, config.head_width, dtype=torch.float32, device=weight.device)
    return cosines(model.encoder.positions.at(0).rotate(ones, blank(model))[0, 0, config.prefix:])


def by_offset(model: ViT) -> Float[np.ndarray, "patches patches"]:
    """Of the vectors that belong to the offsets between patches in reading order, to the one of no offset."""
    keys = model.encoder.positions.at(0).get_parameter("offset_keys").double()
    middle = keys.shape[1] // 2
    alike = torch.nn.functional.cosine_similarity(keys, keys[:, middle:middle + 1], dim=-1).mean(0).cpu().numpy()
    places = np.arange(model.config.patches)
    tiles: np.ndarray = alike[places[:, None] - places + middle]
    return tiles


def favored(model: ViT) -> Float[np.ndarray, "patches patches"]:
    """Scores that the first layer adds, heads averaged."""
    config, weight = model.config, next(model.parameters())
    queries = weight.new_zeros(1, config.heads, config.tokens, config.head_width)
    bias = model.encoder.positions.at(0).bias(queries, blank(model))
    assert bias is not None
    scores = bias.float().mean((0, 1))[config.prefix:, config.prefix:].cpu().numpy()
    largest = np.abs(scores).max()
    shares: np.ndarray = scores / largest if largest > 0 else scores
    return shares


def blank(model: ViT) -> Tokens:
    """Patches without content, at their places."""
    config, weight = model.config, next(model.parameters())
    return Tokens(weight.new_zeros(1, config.patches, config.width), places_of(config.grid, weight.device), config.grid)


def cosines(vectors: Tensor) -> Float[np.ndarray, "patches patches"]:
    table = vectors.double().cpu().numpy()
    lengths = np.linalg.norm(table, axis=1, keepdims=True)
    directions = table / np.where(lengths == 0, 1, lengths)
    alike: np.ndarray = directions @ directions.T
    return alike


@dataclass(frozen=True)
class PlacesRead:
    """`rows` and `columns` [layers]: share of the variance of a patch's row, or column, that a linear reading of its
    features explains on images that it was not learned from; at most 1, below 0 where it is worse than the middle.
    `images`: how many there were, half of them to learn from."""

    images: int
    layers: tuple[str, ...]
    rows: Float[np.ndarray, " layers"]
    columns: Float[np.ndarray, " layers"]


def places_read(bundle: Bundle, raw: RawImages, batch_size: int = 8) -> PlacesRead | None:
    """How well a linear model tells where a patch lies, from what enters the first block to what leaves the last.
    Learned from one half of the images, measured on the other: at most READ_IMAGES, of many patches fewer. None for
    fewer than LEAST_READ.

    Raises NothingToSeeError for a model without patches.
    """
    model = transformer(bundle)
    if len(raw) < LEAST_READ:
        return None
    names = layers_of(model, entered=True)
    few = raw[: min(READ_IMAGES, max(READ_PATCHES // model.config.patches, 16))]
    features = layer_features(bundle, few, names, batch_size)
    scores = np.array([read_off(features[name]) for name in names])
    return PlacesRead(len(few), tuple(map(layer_word, names)), scores[:, 0], scores[:, 1])


def read_off(features: Float[np.ndarray, "images width rows columns"]) -> tuple[float, float]:
    """Ridge regression on the first half of the images, with the penalty that serves best from one half of these to the
    other: without, as few patches as they have numbers would be read by chance."""
    half = (len(features) + 1) // 2
    places = np.moveaxis(np.indices(features.shape[2:]), 0, -1).reshape(-1, 2).astype(np.float64)
    aims = places - places.mean(0)
    spread = (aims**2).mean(0)
    known, new = features[:half], features[half:]
    first, second = known[: (half + 1) // 2], known[(half + 1) // 2:]
    best = (missed(first, second, aims) + missed(second, first, aims)).argmin(0)
    scores = 1 - missed(known, new, aims)[best, (0, 1)] / np.where(spread == 0, 1, spread)
    return float(scores[0]) if spread[0] else 1.0, float(scores[1]) if spread[1] else 1.0


def missed(known: Float[np.ndarray, "images width rows columns"], new: Float[np.ndarray, "others width rows columns"],
           aims: Float[np.ndarray, "patches 2"]) -> Float[np.ndarray, "penalties 2"]:
    """Mean squares by which rows and columns are missed on other images than those that are learned from, for each of
    PENALTIES, in mean variances of the features."""
    rows, others = (part.transpose(0, 2, 3, 1).reshape(-1, part.shape[1]).astype(np.float64) for part in (known, new))
    middle = rows.mean(0)
    moment, toward = (rows - middle).T @ (rows - middle), (rows - middle).T @ np.tile(aims, (len(known), 1))
    size = max(float(np.trace(moment)) / len(moment), 1e-12)
    weights = (np.linalg.solve(moment + penalty * size * np.eye(len(moment)), toward) for penalty in PENALTIES)
    wanted = np.tile(aims, (len(new), 1))
    return np.stack([(((others - middle) @ one - wanted) ** 2).mean(0) for one in weights])
