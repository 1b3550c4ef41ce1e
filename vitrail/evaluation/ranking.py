"""How well scores put the images with a label before those without it."""

from __future__ import annotations

import numpy as np


def average_precision(scores: np.ndarray, positive: np.ndarray) -> float | None:
    """The precision at every distinct score, weighted by the recall gained there; None without any positive.

    `scores` float [images], `positive` bool [images]. Equal scores count as one step, so their order is no matter.
    """
    total = np.count_nonzero(positive)
    if not total:
        return None
    order = np.argsort(-scores, kind="stable")
    ordered = scores[order]
    ends = np.append(np.flatnonzero(np.diff(ordered)), len(ordered) - 1)
    found = np.cumsum(positive[order].astype(np.int64))[ends]
    precision = found / (ends + 1)
    return float(np.sum(precision * np.diff(found, prepend=0)) / total)
