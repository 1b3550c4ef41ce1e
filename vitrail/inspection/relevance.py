"""Which patches speak for the answer, by attention and its gradient (2103.15679, rules 5 and 6).

R starts as the identity: each token is made of itself. Each layer adds what its heads mixed in, where that helped:

    R = R + mean over heads of relu(dy/dA * A) @ R         A: attention weights, y: the logit of the class

The answer reads R as it reads its tokens: the class token's row, the mean over patches, or, where the model pools by
attention, through the pooling query, by the same rule. Of a mean over patches the identity is left out: in it every
patch has the same share, beside which what attention does is next to nothing.
"""

from __future__ import annotations

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from vitrail.inspection.attention_distance import layer_cores
from vitrail.inspection.attention_maps import POOLING_CORE
from vitrail.inspection.explained import Explained, with_gradients
from vitrail.inspection.lens import attending, batches_of, grid_of, normalized
from vitrail.inspection.rollout import mixed, read_from
from vitrail.inspection.trace import weighted
from vitrail.models import ViT

MEMORY = 2**30
"""Bytes: about as much as attention weights and their gradients, of all layers at once, may take."""


def relevance(asked: Explained, batch_size: int = 8) -> Float[np.ndarray, "images rows columns"]:
    """How much each patch speaks for what is explained, at least 0. What came through the class token and registers
    themselves is left out. The largest model takes one image at a time: attention of all layers is in memory at once.

    Raises NothingToSeeError for a model without attention among patches, UsageError for a compiled one.
    """
    model = attending(asked.bundle)
    grid, size = grid_of(model, asked.raw), min(batch_size, images_at_once(model, asked))
    parts = []
    for rows in batches_of(len(asked.raw), size):
        through = flow(asked, model, rows)
        parts.append(through[:, model.config.prefix:].unflatten(1, grid).cpu().numpy())
    return np.concatenate(parts)


def images_at_once(model: ViT, asked: Explained) -> int:
    (rows, columns), config = grid_of(model, asked.raw), model.config
    tokens = config.prefix + rows * columns
    return max(MEMORY // (3 * 4 * config.depth * config.heads * tokens**2), 1)


def flow(asked: Explained, model: ViT, part: slice) -> Float[Tensor, "batch tokens"]:
    """What reads the answer -> what all tokens that entered have to do with it."""
    helpful = helpful_attention(asked, model, part)
    grid = grid_of(model, asked.raw)
    tokens = model.config.prefix + grid[0] * grid[1]
    batch = len(asked.raw[part])
    itself = torch.eye(tokens, device=asked.bundle.device)
    through = itself.repeat(batch, 1, 1)
    for core in layer_cores(model):
        added = mixed(core, helpful[core], through, grid)
        through = through[:, : added.shape[1]] + added  # of the last layer only the tokens that are read
    if model.config.pooling != "attention":
        through = through - itself[: through.shape[1]]
    return read_from(model, through, [helpful[POOLING_CORE][:, 0]] if POOLING_CORE in helpful else [])


def helpful_attention(asked: Explained, model: ViT, part: slice) -> dict[str, Float[Tensor, "lines asking tokens"]]:
    """Of each attention core, the mean over heads of relu(gradient * weights)."""
    weights: dict[str, Tensor] = {}
    with with_gradients(model):
        with weighted(model, weights.__setitem__):
            images = normalized(asked.bundle, asked.raw[part])
            of = torch.arange(len(asked.raw), device=images.device)[part]
            evidence = asked.evidence(images, of).sum()
            passed = dict(weights)  # blocks that are computed again in the backward pass are seen again
            gradients = torch.autograd.grad(evidence, list(passed.values()), materialize_grads=True,
                                            allow_unused=True)
        return {name: (gradient * one.detach()).clamp(min=0).mean(1)
                for (name, one), gradient in zip(passed.items(), gradients, strict=True)}
