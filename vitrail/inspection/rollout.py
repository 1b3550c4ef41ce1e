"""Which patches the answer comes from, through all layers: attention rollout (2005.00928; paper, Figure 6).

Heads are averaged, the shortcut is added as the identity, rows are made to sum to one, and the layers are multiplied.
"""

from __future__ import annotations

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from vitrail.bundle import Bundle
from vitrail.inspection.attention_distance import layer_cores
from vitrail.inspection.attention_maps import POOLING_CORE
from vitrail.inspection.lens import attending, batches_of, encoded, grid_of, pooled
from vitrail.inspection.trace import Recorded, observe
from vitrail.models import ViT
from vitrail.vocabulary import Grid, RawImages


@torch.inference_mode()
def rollout(bundle: Bundle, raw: RawImages, batch_size: int = 8) -> Float[np.ndarray, "images rows columns"]:
    """Shares of the answer from 0 to 1, as the class token reads them (and the mean over all patches, where the
    answer is made of both); without one, the mean over all patches, or the learned query where the model pools by
    attention. What came from the class token and registers themselves is left
    out, so a map sums to at most 1. One layer's maps of one batch are in memory at a time, heads averaged.

    Raises NothingToSeeError for a model without attention among patches.
    """
    model = attending(bundle)
    grid, prefix = grid_of(model, raw), model.config.prefix
    shares = np.empty((len(raw), *grid), np.float32)
    for rows in batches_of(len(raw), batch_size):
        shares[rows] = flow(bundle, model, raw[rows], grid)[:, prefix:].unflatten(1, grid).cpu()
    return shares


def flow(bundle: Bundle, model: ViT, raw: RawImages, grid: Grid) -> Float[Tensor, "batch tokens"]:
    """What reads the answer -> shares of all tokens that entered."""
    cores, tokens = set(layer_cores(model)), model.config.prefix + grid[0] * grid[1]
    through = torch.eye(tokens, device=bundle.device).repeat(len(raw), 1, 1)
    asked: list[Tensor] = []

    def see(name: str, recorded: Recorded) -> None:
        nonlocal through
        if name == POOLING_CORE:
            asked.append(recorded.mean_weights()[:, 0])
        elif name in cores:
            weights = recorded.mean_weights()
            through = (through + mixed(name, weights, through, grid)) / 2  # rows of both sum to one already

    with observe(model, see):
        pooled(bundle, encoded(bundle, raw))
    return read_from(model, through, asked)


def mixed(core: str, weights: Float[Tensor, "lines asking tokens"], through: Float[Tensor, "batch tokens tokens"],
          grid: Grid) -> Float[Tensor, "batch asking tokens"]:
    """One layer's attention, one number for all heads, times what went before."""
    if ".row." in core:
        rows = weights.unflatten(0, (-1, grid[0]))
        return torch.einsum("brqk,brkn->brqn", rows, through.unflatten(1, grid)).flatten(1, 2)
    if ".column." in core:
        columns = weights.unflatten(0, (-1, grid[1]))
        return torch.einsum("bcqk,bkcn->bqcn", columns, through.unflatten(1, grid)).flatten(1, 2)
    return weights @ through


def read_from(model: ViT, through: Float[Tensor, "batch tokens tokens"],
              asked: list[Tensor]) -> Float[Tensor, "batch tokens"]:
    config = model.config
    if config.pooling == "attention":
        return torch.einsum("bk,bkn->bn", asked[0], through[:, config.prefix:])
    if config.pooling == "token+mean":
        return (through[:, 0] + through[:, config.prefix:].mean(1)) / 2
    if config.class_tokens:
        return through[:, : config.class_tokens].mean(1)
    return through[:, config.prefix:].mean(1)
