"""A linear layer on whitened features: what every probe of frozen features ends in."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int

TINY = 1e-5
"""Added to each standard deviation, as the reference does: a constant feature stays finite."""


@dataclass(frozen=True)
class Whitening:
    """Each feature by its own mean and population standard deviation (no rotation, so no ZCA)."""

    mean: Float[np.ndarray, " width"]
    scale: Float[np.ndarray, " width"]

    def __call__(self, features: Float[np.ndarray, "images width"]) -> Float[np.ndarray, "images width"]:
        return (np.asarray(features, np.float32) - self.mean) / self.scale


def whitening(features: Float[np.ndarray, "images width"]) -> Whitening:
    values = np.asarray(features, np.float32)
    return Whitening(values.mean(0), values.std(0) + np.float32(TINY))


@dataclass(frozen=True)
class Readout:
    """features -> scores: `whiten(features) @ weights + bias`."""

    whiten: Whitening
    weights: Float[np.ndarray, "width classes"]
    bias: Float[np.ndarray, " classes"]

    def scores(self, features: Float[np.ndarray, "images width"]) -> Float[np.ndarray, "images classes"]:
        return self.whiten(features) @ self.weights + self.bias

    def predict(self, features: Float[np.ndarray, "images width"]) -> Int[np.ndarray, " images"]:
        return self.scores(features).argmax(1)
