"""Is anything wrong inside? Where heads look, what each of them adds, tokens that grow out of all proportion."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from vitrail.bundle import Bundle
from vitrail.inspection.attention_distance import layer_cores, layer_name
from vitrail.inspection.lens import batches_of, encoded, grid_of, transformer
from vitrail.inspection.trace import Recorded, observe, outputs
from vitrail.vocabulary import RawImages

HIGH = 3.0
"""A patch is out of proportion where it is so many times as long as the median patch of its layer. (In 2309.16588 the
ones that registers cure are three to ten times as long.)"""

DEAD = 0.01
"""A head is dead that adds less than this share of what an average head of its layer adds."""


@dataclass(frozen=True)
class Health:
    """`layers`: names of the attention layers. `entropy` [layers, heads]: 0 where every token attends to one token, 1
    where it attends to all alike. `added` [layers, heads]: length of what a head adds to a token, as a share of what an
    average head of the layer adds. `lengths`: of the patches after each block, [blocks, images, patches]."""

    layers: tuple[str, ...]
    entropy: Float[np.ndarray, "layers heads"]
    added: Float[np.ndarray, "layers heads"]
    lengths: Float[np.ndarray, "blocks images patches"]

    @property
    def dead(self) -> list[tuple[int, int]]:
        """(layer, head) of each, counted from 0."""
        return [(int(layer), int(head)) for layer, head in np.argwhere(self.added < DEAD)]

    @property
    def medians(self) -> Float[np.ndarray, " blocks"]:
        middle: np.ndarray = np.median(self.lengths, axis=(1, 2))
        return middle

    @property
    def high(self) -> Float[np.ndarray, " blocks"]:
        """Share of the patches that are out of proportion."""
        share: np.ndarray = (self.lengths > HIGH * self.medians[:, None, None]).mean((1, 2))
        return share


@torch.inference_mode()
def health(bundle: Bundle, raw: RawImages, batch_size: int = 8) -> Health:
    """Over these images; one layer's maps of one batch are in memory at a time.

    Raises NothingToSeeError for a model without attention among patches.
    """
    model = transformer(bundle)
    layers = {core: layer for layer, core in enumerate(layer_cores(model))}
    blocks = {f"encoder.blocks.{block}": block for block in range(model.config.depth)}
    grid = grid_of(model, raw)
    of_heads = np.zeros((len(layers), model.config.heads, 2))
    lengths = np.empty((len(blocks), len(raw), grid[0] * grid[1]), np.float32)

    def see(name: str, recorded: Recorded) -> None:
        if name in layers:
            out = model.get_submodule(name.removesuffix("core") + "out").get_parameter("weight")
            of_heads[layers[name]] += look_at_heads(recorded, out).cpu().numpy() * (len(raw[rows]) / len(raw))

    def measure(name: str, left: Tensor) -> None:
        lengths[blocks[name], rows] = left[:, model.config.prefix:].float().norm(dim=-1).cpu()

    with observe(model, see), outputs(model, blocks, measure):
        for rows in batches_of(len(raw), batch_size):
            encoded(bundle, raw[rows])
    entropy, added = of_heads[..., 0], of_heads[..., 1]
    return Health(tuple(map(layer_name, layers)), entropy,
                  added / added.mean(1, keepdims=True).clip(min=1e-30), lengths)


def look_at_heads(recorded: Recorded, out: Float[Tensor, "width width"]) -> Float[Tensor, "heads 2"]:
    """Entropy of each head, and the length of what it adds; one after another, so that one head's maps are held."""
    found = []
    for head, part in zip(recorded.heads(), out.chunk(recorded.queries.shape[1], 1), strict=True):
        weights = head.weights()[:, 0]
        found.append(torch.stack((spread_of(weights), what_it_adds(weights, head.values[:, 0], part))))
    return torch.stack(found)


def spread_of(weights: Float[Tensor, "batch tokens others"]) -> Float[Tensor, ""]:
    """Entropy of one head as a share of the largest that there can be, averaged over images and tokens that ask."""
    return torch.special.entr(weights).sum(-1).double().mean() / math.log(max(weights.shape[-1], 2))


def what_it_adds(weights: Float[Tensor, "batch tokens others"], values: Float[Tensor, "batch others head"],
                 out: Float[Tensor, "width head"]) -> Float[Tensor, ""]:
    """Length of one head's part of the output, averaged over images and tokens."""
    return (weights @ values.float() @ out.float().T).norm(dim=-1).double().mean()
