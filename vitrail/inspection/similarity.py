"""How much do layers say the same? Centered kernel alignment (1905.00414) of the features of any two layers, without
the bias that few examples bring (2010.15327)."""

from __future__ import annotations

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from vitrail.bundle import Bundle
from vitrail.inspection.layers import layer_word, layers_of, watch_layers
from vitrail.models import ViT
from vitrail.vocabulary import RawImages

ROWS = 1024
"""Patches that are compared; kernels have this number squared."""


@torch.inference_mode()
def layer_similarity(bundle: Bundle, raw: RawImages,
                     batch_size: int = 8) -> tuple[list[str], Float[np.ndarray, "layers layers"]]:
    """Names of the layers, and how alike each two are: 1 where one is the other turned, moved or scaled, about 0 where
    they have nothing in common. Of a transformer patches are compared, at the same places in all layers; of a ResNet,
    whose maps differ in size, means over the map of each image (4 of them at least)."""
    names = layers_of(bundle.model)
    kernels: dict[str, list[Tensor]] = {name: [] for name in names}
    patches = isinstance(bundle.model, ViT)
    each = max(ROWS // max(len(raw), 1), 1)

    def see(name: str, left: Tensor) -> None:
        if not patches:
            kernels[name].append(left.float().mean((2, 3)).cpu())
            return
        flat = left.flatten(2).transpose(1, 2)
        places = torch.linspace(0, flat.shape[1] - 1, min(each, flat.shape[1])).round().long()
        kernels[name].append(flat[:, places].flatten(0, 1).float().cpu())

    watch_layers(bundle, raw, names, see, batch_size)
    features = [torch.cat(parts)[:ROWS] for parts in kernels.values()]
    return [layer_word(name) for name in names], alignment(features)


def alignment(features: list[Tensor]) -> Float[np.ndarray, "layers layers"]:
    """Between each two of several [rows, width] of the same rows, 4 of them at least; NaN where a layer is constant."""
    centered = [unbiased(rows.double() - rows.double().mean(0)) for rows in features]
    flat = torch.stack([one.flatten() for one in centered])
    products = flat @ flat.T
    lengths = products.diagonal().clamp(min=0).sqrt()
    alike: np.ndarray = (products / torch.outer(lengths, lengths)).clamp(-1, 1).numpy()
    return alike


def unbiased(rows: Float[Tensor, "rows width"]) -> Float[Tensor, "rows rows"]:
    """The kernel of inner products, centered so that products of two of them estimate without bias (U-centering,
    1310.5105)."""
    kernel = rows @ rows.T
    kernel.fill_diagonal_(0)
    count = len(kernel)
    sums = kernel.sum(1, keepdim=True) / (count - 2)
    kernel = kernel - sums - sums.T + kernel.sum() / ((count - 1) * (count - 2))
    return kernel.fill_diagonal_(0)
