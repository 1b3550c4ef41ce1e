"""How far a head looks (paper, Figure 11): the distance between a patch and what it attends to, in pixels."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from vitrail.bundle import Bundle
from vitrail.inspection.lens import encoded, grid_of, in_batches, transformer
from vitrail.inspection.trace import Recorded, observe
from vitrail.models import AxialViT, ViT
from vitrail.vocabulary import Grid, RawImages, Size


@dataclass(frozen=True)
class AttentionDistance:
    """`pixels` float64 [layers, heads, images]. `layers`: names of the layers, two for each block of an axial model.
    `even` [layers]: what a head would have that attends to all patches alike."""

    pixels: Float[np.ndarray, "layers heads images"]
    layers: tuple[str, ...]
    even: Float[np.ndarray, " layers"]


@torch.inference_mode()
def attention_distance(bundle: Bundle, raw: RawImages, batch_size: int = 8) -> AttentionDistance:
    """Over these images: the distance between the middles of two patches, weighted by attention, averaged over the
    patches that ask. The class token and registers are left out on both sides, and what patches gave them is shared
    out over the patches. One layer's maps of one batch are in memory at a time.

    Raises NothingToSeeError for a model without attention among patches.
    """
    model = transformer(bundle)
    grid, prefix = grid_of(model, raw), model.config.prefix
    found: dict[str, list[Tensor]] = {core: [] for core in layer_cores(model)}
    apart = {core: distances_in(core, grid, model.config.patch).to(bundle.device) for core in found}

    def see(name: str, recorded: Recorded) -> None:
        if name in found:
            lines = len(recorded.queries) // batch  # of an axial model, rows or columns of each image
            far = mean_distance(recorded, apart[name], prefix)
            found[name].append(far.unflatten(0, (batch, lines)).mean(1).double().cpu())

    with observe(model, see):
        for part in in_batches(raw, batch_size):
            batch = len(part)
            encoded(bundle, part)
    pixels = np.stack([torch.cat(parts).T.numpy() for parts in found.values()])
    return AttentionDistance(pixels, tuple(map(layer_name, found)),
                             np.array([float(apart[core].double().mean()) for core in found]))


def mean_distance(recorded: Recorded, apart: Float[Tensor, "patches patches"],
                  prefix: int) -> Float[Tensor, "images heads"]:
    """Head by head, so that a map of one head for one batch is all that is held."""
    heads = []
    for head in range(recorded.queries.shape[1]):
        alone = one_head(recorded, head)
        weights = alone.weights(slice(prefix, None), slice(prefix, None))[:, 0]
        heads.append(weights.flatten(1) @ apart.flatten() / len(apart))
    return torch.stack(heads, 1)


def one_head(recorded: Recorded, head: int) -> Recorded:
    part = slice(head, head + 1)
    bias = recorded.bias
    if bias is not None and bias.dim() >= 3 and bias.shape[-3] > 1:
        bias = bias[..., part, :, :]
    return Recorded(recorded.queries[:, part], recorded.keys[:, part], recorded.values[:, part], bias)


def layer_cores(model: ViT) -> list[str]:
    """Names of the modules in which patches attend to one another, in the order of the model."""
    parts = ("row.", "column.") if isinstance(model, AxialViT) else ("",)
    return [f"encoder.blocks.{block}.{part}attention.core" for block in range(model.config.depth) for part in parts]


def layer_name(core: str) -> str:
    """ "encoder.blocks.0.row.attention.core" -> "1, rows"; counted from 1."""
    words = core.split(".")
    part = f", {words[3]}s" if words[3] in ("row", "column") else ""
    return f"{int(words[2]) + 1}{part}"


def distances_in(core: str, grid: Grid, patch: Size) -> Float[Tensor, "patches patches"]:
    """Between all pairs of patches that meet in one layer."""
    if ".row." in core:
        return distances((1, grid[1]), patch)
    return distances((grid[0], 1) if ".column." in core else grid, patch)


def distances(grid: Grid, patch: Size) -> Float[Tensor, "patches patches"]:
    """Between the middles of all pairs of patches, in pixels, in reading order."""
    rows, columns = torch.meshgrid(torch.arange(grid[0]) * patch[0], torch.arange(grid[1]) * patch[1], indexing="ij")
    places = torch.stack((rows.flatten(), columns.flatten()), 1).float()
    return torch.cdist(places, places, compute_mode="donot_use_mm_for_euclid_dist")
