"""Does a model that says 80 % turn out right in 80 % of the cases?"""

from __future__ import annotations

import numpy as np

BINS = 15


def calibration_error(confidence: np.ndarray, correct: np.ndarray, bins: int = BINS) -> float:
    """Expected calibration error (1706.04599): |share right - mean confidence| per bin of equal width, weighted by
    how many answers fall in the bin.

    `confidence` float [images] from 0 to 1, `correct` bool [images].
    """
    if not len(confidence):
        raise ValueError("a calibration error needs at least one answer")
    place = np.clip(np.ceil(confidence * bins).astype(int) - 1, 0, bins - 1)  # bins are open below, closed above
    said = np.bincount(place, weights=confidence, minlength=bins)
    right = np.bincount(place, weights=correct, minlength=bins)
    return float(np.abs(said - right).sum() / len(confidence))
