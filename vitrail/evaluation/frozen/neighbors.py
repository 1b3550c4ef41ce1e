"""k nearest neighbors in the space of features, as DINO votes (2104.14294, `eval_knn.py`): cosine similarity, and each
neighbor's vote weighted by exp(similarity / temperature)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn import functional

TEMPERATURE = 0.07
TRAIN_BLOCK, TEST_BLOCK = 16_384, 1_024
"""Images of each side in one product: 64 MB of similarities."""


def by_neighbors(train: Float[np.ndarray, "images width"], labels: Int[np.ndarray, " images"], classes: int,
                 test: Float[np.ndarray, "others width"], neighbors: Sequence[int] = (20,),
                 temperature: float = TEMPERATURE) -> dict[int, Int[np.ndarray, " others"]]:
    """The class of each test image by its k nearest training images, for every k in `neighbors`.

    Where there are fewer than k training images, all of them vote. Equal votes go to the lower class.
    """
    most = min(max(neighbors), len(train))
    answers: dict[int, list[np.ndarray]] = {k: [] for k in neighbors}
    targets = torch.from_numpy(np.asarray(labels))
    for similarities, rows in nearest(train, test, most):
        for k in neighbors:
            scores = votes(similarities[:, :k], targets[rows[:, :k]], classes, temperature)
            answers[k].append(scores.argmax(1).numpy())
    return {k: np.concatenate(parts) for k, parts in answers.items()}


def nearest(train: Float[np.ndarray, "images width"], test: Float[np.ndarray, "others width"],
            k: int) -> Iterator[tuple[Float[Tensor, "block k"], Int[Tensor, "block k"]]]:
    """For each block of test images, the cosine similarity and the row of their k nearest, the nearest first."""
    for start in range(0, len(test), TEST_BLOCK):
        queries = unit(test[start:start + TEST_BLOCK])
        best = torch.empty(len(queries), 0)
        rows = torch.empty(len(queries), 0, dtype=torch.int64)
        for first in range(0, len(train), TRAIN_BLOCK):
            similarities = queries @ unit(train[first:first + TRAIN_BLOCK]).T
            values, places = similarities.topk(min(k, similarities.shape[1]), dim=1)
            best, order = torch.cat([best, values], 1).topk(min(k, best.shape[1] + values.shape[1]), dim=1)
            rows = torch.cat([rows, places + first], 1).gather(1, order)
        yield best, rows


def unit(values: np.ndarray) -> Float[Tensor, "block width"]:
    """Rows of length 1; a row of zeros stays one, and is like nothing."""
    return functional.normalize(torch.from_numpy(np.array(values, np.float32)), dim=1)


def votes(similarities: Float[Tensor, "block k"], labels: Int[Tensor, "block k"], classes: int,
          temperature: float) -> Float[Tensor, "block classes"]:
    """The weight of each class; relative to the nearest neighbor's, so that no temperature overflows."""
    weights = ((similarities - similarities[:, :1]) / temperature).exp()
    return torch.zeros(len(similarities), classes).scatter_add_(1, labels, weights)
