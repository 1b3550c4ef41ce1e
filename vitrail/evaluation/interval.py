"""How far a measured fraction could be off only because the test images are a sample."""

from __future__ import annotations

import numpy as np

RESAMPLES = 10_000


def bootstrap_interval(correct: int, images: int, *, seed: int = 0, level: float = 0.95) -> tuple[float, float]:
    """The percentile bootstrap interval of `correct / images`.

    Drawing `images` answers with replacement, `correct` of them right, has right answers distributed as
    Binomial(images, correct / images), so the resamples are drawn from that directly. With no mistake at all, or
    nothing but mistakes, every resample would be the same; then the exact one-sided bound is given: the rate at which
    such a sample still has a chance of 1 - `level`.
    """
    if images < 1 or not 0 <= correct <= images:
        raise ValueError(f"{correct} correct of {images} images is not a fraction")
    if correct in (0, images):
        bound = (1 - level) ** (1 / images)
        return (bound, 1.0) if correct else (0.0, 1 - bound)
    fractions = np.random.default_rng(seed).binomial(images, correct / images, RESAMPLES) / images
    low, high = np.quantile(fractions, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)
