"""A part of the training images that settings are chosen on, so that the test images decide nothing."""

from __future__ import annotations

import numpy as np
from jaxtyping import Bool, Int

from vitrail.data.split import permuted_classes, share_of

SHARE = 0.2
"""200 of VTAB's 1,000."""


def held_out(labels: Int[np.ndarray, " images"], seed: int) -> Bool[np.ndarray, " images"]:
    """Which images choose: the same share of each class, at least one of it; but a class of one image is learned."""
    held = np.zeros(len(labels), bool)
    for members in permuted_classes(labels, np.random.default_rng(seed)):
        if len(members) > 1:
            held[members[:share_of(len(members), SHARE)]] = True
    return held
