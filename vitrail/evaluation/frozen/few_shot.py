"""Few-shot linear evaluation as the paper reports it (section 4.1): least squares on frozen features, in closed form.

The protocol is that of big_vision's `evaluators/fewshot_lsr.py`, to the constant: subsets of s images a class that are
nested for one seed (`data.split.few_shot_rows`), features whitened by the subset, a bias feature of 100 that is nearly
free of the penalty, targets of -1 and +1, and a penalty of 1024 without a factor for the number of images.
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Float, Int

from vitrail.evaluation.frozen.readout import Readout, whitening

STRENGTH = 2.0**10
BIAS_FEATURE = 100.0


def ridge(features: Float[np.ndarray, "images width"], labels: Int[np.ndarray, " images"], classes: int,
          strength: float = STRENGTH) -> Readout:
    """The least-squares layer for `labels` from 0 to `classes` - 1, solved in float64 from float32 features."""
    whiten = whitening(features)
    inputs = with_bias(whiten(features)).astype(np.float64)
    targets = 2.0 * np.eye(classes)[labels] - 1.0
    weights = solve(inputs, targets, strength)
    return Readout(whiten, weights[:-1].astype(np.float32), (BIAS_FEATURE * weights[-1]).astype(np.float32))


def with_bias(features: np.ndarray) -> np.ndarray:
    return np.pad(features, ((0, 0), (0, 1)), constant_values=BIAS_FEATURE)


def solve(inputs: Float[np.ndarray, "images width"], targets: Float[np.ndarray, "images classes"],
          strength: float) -> Float[np.ndarray, "width classes"]:
    """W = (X'X + strength)^-1 X'Y, or the same as X'(XX' + strength)^-1 Y where there are fewer images than
    dimensions: the smaller of the two systems."""
    images, width = inputs.shape
    if images >= width:
        return np.linalg.solve(inputs.T @ inputs + strength * np.eye(width), inputs.T @ targets)
    return inputs.T @ np.linalg.solve(inputs @ inputs.T + strength * np.eye(images), targets)
