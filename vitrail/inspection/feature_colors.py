"""What the patches have in common, layer by layer: the three strongest directions of their features as red, green and
blue. Patches of like color have like features, in all of the images."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from vitrail.bundle import Bundle
from vitrail.inspection.layers import evenly, layer_features, layer_word, layers_of
from vitrail.vocabulary import RawImages

COLORS = 3
MOST_LAYERS = 6
CUT = 1.0
"""Percent of the patches at either end that are not told apart, so that a few strange ones leave color to the rest."""


@dataclass(frozen=True)
class FeatureColors:
    """`layers`: their names. `pictures`: for each layer float32 [images, rows, columns, 3], 0 to 1. `shares` [layers,
    3]: how much of the features' variance each color shows."""

    layers: tuple[str, ...]
    pictures: tuple[Float[np.ndarray, "images rows columns 3"], ...]
    shares: Float[np.ndarray, "layers 3"]


def feature_colors(bundle: Bundle, raw: RawImages, most_layers: int = MOST_LAYERS,
                   batch_size: int = 8) -> FeatureColors:
    """Components are shared by all images of a layer, and by no two layers."""
    layers = layers_of(bundle.model)
    names = [layers[place] for place in evenly(len(layers), most_layers)]
    features = layer_features(bundle, raw, names, batch_size)
    found = [colored(features[name]) for name in names]
    return FeatureColors(tuple(map(layer_word, names)), tuple(pictures for pictures, _ in found),
                         np.stack([shares for _, shares in found]))


def colored(features: Float[np.ndarray, "images width rows columns"]
            ) -> tuple[Float[np.ndarray, "images rows columns 3"], Float[np.ndarray, " 3"]]:
    """Colors of one layer, and the share of the variance that each explains. A direction has no sign of its own: its
    largest weight is made positive."""
    rows = features.transpose(0, 2, 3, 1).reshape(-1, features.shape[1]).astype(np.float64)
    centered = rows - rows.mean(0)
    strengths, directions = strongest(centered)
    signs = np.sign(directions[np.abs(directions).argmax(0), np.arange(directions.shape[1])])
    along = centered @ (directions * np.where(signs == 0, 1, signs))
    low, high = np.percentile(along, [CUT, 100 - CUT], axis=0)
    wide = np.where(high - low > 1e-9 * max(float(np.abs(along).max()), 1e-300), high - low, np.inf)
    scaled = np.where(np.isinf(wide), 0.5, (along - low) / wide).clip(0, 1)
    padded = np.full((len(scaled), COLORS), 0.5)
    padded[:, : scaled.shape[1]] = scaled
    shares = np.zeros(COLORS)
    shares[: len(strengths)] = strengths / max(float((centered**2).sum()), np.finfo(np.float64).tiny)
    images, _, height, width = features.shape
    return padded.reshape(images, height, width, COLORS).astype(np.float32), shares


def strongest(centered: Float[np.ndarray, "rows width"]) -> tuple[np.ndarray, np.ndarray]:
    """Squared lengths along the first principal directions, and these as columns."""
    values, vectors = np.linalg.eigh(centered.T @ centered)
    order = np.argsort(values)[::-1][:COLORS]
    return values[order].clip(min=0), vectors[:, order]
