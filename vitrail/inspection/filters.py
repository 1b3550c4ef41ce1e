"""What the first layer reacts to, as pictures: the principal components of the patch embedding (paper, Figure 7), or
of the root convolution of a ResNet."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float
from torch import Tensor

from vitrail.models import BiT, Hybrid, Model

PAPER_COUNT = 28


@dataclass(frozen=True)
class PatchFilters:
    """`pictures` float32 [filters, height, width, channels], 0 to 1 with 0.5 for zero, the strongest first.
    `shares` float32 [filters]: how much of the layer's variance each one explains."""

    pictures: Float[np.ndarray, "filters height width_px channels"]
    shares: Float[np.ndarray, filters]


def patch_filters(model: Model, count: int = PAPER_COUNT) -> PatchFilters:
    """The first `count` principal components of the rows of E, fewer where there are fewer.

    Each is scaled by its own largest value. Its sign means nothing, so it is chosen to make that value positive.
    """
    weight = first_kernel(model).detach().double().cpu().numpy()
    rows = weight.reshape(len(weight), -1)
    _, strengths, components = np.linalg.svd(rows - rows.mean(0), full_matrices=False)
    variance = strengths**2
    useful = int(np.count_nonzero(variance > variance.max(initial=0.0) * 1e-12))
    components = components[: min(count, useful)]
    peaks = components[np.arange(len(components)), np.abs(components).argmax(1)]
    pictures = 0.5 + 0.5 * (components / peaks[:, None]).reshape(-1, *weight.shape[1:])
    shares = variance[: len(components)] / max(variance.sum(), np.finfo(np.float64).tiny)
    return PatchFilters(pictures.transpose(0, 2, 3, 1).astype(np.float32), shares.astype(np.float32))


def first_kernel(model: Model) -> Tensor:
    """What meets the pixels, as it is used, [outputs, channels, height, width]."""
    if isinstance(model, BiT):
        return model.root.kernel()
    if isinstance(model, Hybrid):
        return model.patchify.stem.root.kernel()
    return model.patchify.get_parameter("weight")


def raw_filters(model: Model, count: int = PAPER_COUNT) -> Float[np.ndarray, "filters height width_px channels"]:
    """The layer's own filters, the longest first, each scaled by its largest value: 0 to 1 with 0.5 for zero."""
    weight = first_kernel(model).detach().double().cpu().numpy()
    lengths = np.linalg.norm(weight.reshape(len(weight), -1), axis=1)
    chosen = weight[np.argsort(-lengths, kind="stable")[: min(count, int((lengths > 0).sum()))]]
    peaks = np.abs(chosen).max((1, 2, 3), keepdims=True, initial=np.finfo(np.float64).tiny)
    pictures: np.ndarray = (0.5 + 0.5 * chosen / peaks).transpose(0, 2, 3, 1).astype(np.float32)
    return pictures
