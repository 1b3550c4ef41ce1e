"""Is anything wrong inside? Where heads look, what each of them adds, tokens that grow out of all proportion."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from vitrail.bundle import Bundle
from vitrail.inspection.attention_distance import layer_cores, layer_name
from vitrail.inspection.lens import encoded, in_batches, transformer
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
    cores, prefix = layer_cores(model), model.config.prefix
    entropy: dict[str, list[Tensor]] = {core: [] for core in cores}
    added: dict[str, list[Tensor]] = {core: [] for core in cores}
    blocks = [f"encoder.blocks.{block}" for block in range(model.config.depth)]
    lengths: dict[str, list[Tensor]] = {block: [] for block in blocks}

    def see(name: str, recorded: Recorded) -> None:
        if name in entropy:
            weights = recorded.weights()
            entropy[name].append(spread_of(weights).double().cpu())
            out = model.get_submodule(name.removesuffix("core") + "out").get_parameter("weight")
            added[name].append(what_heads_add(weights, recorded.values, out).double().cpu())

    def measure(name: str, left: Tensor) -> None:
        lengths[name].append(left[:, prefix:].float().norm(dim=-1).cpu())

    with observe(model, see), outputs(model, blocks, measure):
        for part in in_batches(raw, batch_size):
            encoded(bundle, part)
    mean = torch.stack([torch.cat(parts).mean(0) for parts in added.values()])
    return Health(tuple(map(layer_name, cores)),
                  torch.stack([torch.cat(parts).mean(0) for parts in entropy.values()]).numpy(),
                  (mean / mean.mean(1, keepdim=True).clamp(min=1e-30)).numpy(),
                  np.stack([torch.cat(parts).numpy() for parts in lengths.values()]))


def spread_of(weights: Float[Tensor, "batch heads tokens others"]) -> Float[Tensor, "batch heads"]:
    """Entropy as a share of the largest that there can be, averaged over the tokens that ask."""
    most = torch.log(torch.tensor(float(max(weights.shape[-1], 2))))
    return torch.special.entr(weights).sum(-1).mean(-1) / most


def what_heads_add(weights: Float[Tensor, "batch heads tokens others"], values: Tensor,
                   out: Float[Tensor, "width width"]) -> Float[Tensor, "batch heads"]:
    """Length of each head's part of the output, averaged over tokens."""
    heads = weights.shape[1]
    parts = []
    for head, slice_ in enumerate(out.float().chunk(heads, dim=1)):
        mixed = weights[:, head] @ values[:, head].float()
        parts.append((mixed @ slice_.T).norm(dim=-1).mean(-1))
    return torch.stack(parts, 1)
