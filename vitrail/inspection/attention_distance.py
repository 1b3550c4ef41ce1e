"""How far a head looks (paper, Figure 11): the distance between a patch and what it attends to, in pixels."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from vitrail.bundle import Bundle
from vitrail.inspection.lens import attending, batches_of, encoded, grid_of
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
    model = attending(bundle)
    grid, prefix = grid_of(model, raw), model.config.prefix
    layers = {core: layer for layer, core in enumerate(layer_cores(model))}
    apart = {kind: distances_in(kind, grid, model.config.patch).to(bundle.device) for kind in map(kind_of, layers)}
    pixels = np.empty((len(layers), model.config.heads, len(raw)))

    def see(name: str, recorded: Recorded) -> None:
        if name in layers:
            far = mean_distance(recorded, apart[kind_of(name)], prefix)
            lines = far.unflatten(0, (len(raw[rows]), -1))  # of an axial model, the rows or columns of each image
            pixels[layers[name], :, rows] = lines.mean(1).T.cpu()

    with observe(model, see):
        for rows in batches_of(len(raw), batch_size):
            encoded(bundle, raw[rows])
    return AttentionDistance(pixels, tuple(map(layer_name, layers)),
                             np.array([float(apart[kind_of(core)].double().mean()) for core in layers]))


def mean_distance(recorded: Recorded, apart: Float[Tensor, "patches patches"],
                  prefix: int) -> Float[Tensor, "images heads"]:
    """Head by head, so that a map of one head for one batch is all that is held."""
    patches = slice(prefix, None)
    return torch.stack([head.weights(patches, patches)[:, 0].flatten(1) @ apart.flatten() / len(apart)
                        for head in recorded.heads()], 1)


def layer_cores(model: ViT) -> list[str]:
    """Names of the modules in which patches attend to one another, in the order of the model."""
    parts = ("row.", "column.") if isinstance(model, AxialViT) else ("",)
    return [f"encoder.blocks.{block}.{part}attention.core" for block in range(model.config.depth) for part in parts]


def layer_name(core: str) -> str:
    """ "encoder.blocks.0.row.attention.core" -> "1, rows"; counted from 1."""
    words = core.split(".")
    part = f", {words[3]}s" if words[3] in ("row", "column") else ""
    return f"{int(words[2]) + 1}{part}"


def kind_of(core: str) -> str:
    """Which patches meet in a layer: those of a "row", of a "column", or "all"."""
    return next((kind for kind in ("row", "column") if f".{kind}." in core), "all")


def distances_in(kind: str, grid: Grid, patch: Size) -> Float[Tensor, "patches patches"]:
    """Between all pairs of patches that meet in one layer."""
    return distances({"row": (1, grid[1]), "column": (grid[0], 1)}.get(kind, grid), patch)


def distances(grid: Grid, patch: Size) -> Float[Tensor, "patches patches"]:
    """Between the middles of all pairs of patches, in pixels, in reading order."""
    rows, columns = torch.meshgrid(torch.arange(grid[0]) * patch[0], torch.arange(grid[1]) * patch[1], indexing="ij")
    places = torch.stack((rows.flatten(), columns.flatten()), 1).float()
    return torch.cdist(places, places, compute_mode="donot_use_mm_for_euclid_dist")
