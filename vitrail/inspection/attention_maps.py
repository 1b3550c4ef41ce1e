"""Which patches the answer was gathered from: attention per layer, as maps on the grid of patches."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from vitrail.bundle import Bundle
from vitrail.errors import UsageError
from vitrail.inspection.trace import Recorded, record
from vitrail.models import AxialViTConfig, Family, ViTConfig
from vitrail.vocabulary import Grid, RawImages

POOLING_CORE = "pool.core"

NO_ATTENTION: dict[Family, str] = {
    "bit": "A ResNet sees through convolutions only: it has neither tokens nor attention.",
    "axial-resnet": "An AxialResNet attends along rows and columns of maps of many sizes, with convolutions between: "
                    "it has no patches whose attention would be one picture.",
}
"""Why a family has no attention to show."""


@dataclass(frozen=True)
class AttentionMaps:
    """Shares of attention from 0 to 1. What went to the class token and registers is left out and not made up for,
    so a map sums to at most 1.

    `layers` float32 [depth, batch, rows, columns]: heads averaged. `last` float32 [batch, heads, rows, columns]: each
    head of the last layer. `asked_by`: whose attention this is, in words. `pooling` float32 [batch, rows, columns]:
    that of the learned query that gathers the answer, where the model pools by attention, else None.
    """

    layers: Float[np.ndarray, "depth batch rows columns"]
    last: Float[np.ndarray, "batch heads rows columns"]
    asked_by: str
    pooling: Float[np.ndarray, "batch rows columns"] | None


def attention_maps(bundle: Bundle, raw: RawImages) -> AttentionMaps:
    """Run the model once on uint8 images, as `bundle.preprocess` makes them.

    Whose attention: the class token's where there is one, else the mean over all patches (how much each is looked at).
    A layer of an axial model is attention along rows and then along columns: what a patch sees in its column has seen
    its own row. Raises UsageError for a model without attention.
    """
    config = bundle.model.config
    if not isinstance(config, ViTConfig):
        raise UsageError(f"{config.name} has no attention to look at. {NO_ATTENTION[config.family]}")
    with record(bundle.model) as trace:
        bundle.logits(raw)
    grid = raw.shape[-2] // config.patch[0], raw.shape[-1] // config.patch[1]
    heads = [block_sees(trace, f"encoder.blocks.{layer}", config, grid) for layer in range(config.depth)]
    on_grid = [seen.reshape(*seen.shape[:2], *grid) for seen in heads]
    pooling = trace.get(POOLING_CORE)
    return AttentionMaps(
        layers=np.stack([seen.mean(1) for seen in on_grid]),
        last=on_grid[-1],
        asked_by=asked_by(config),
        pooling=None if pooling is None else as_numbers(pooling.weights().mean(1)[:, 0]).reshape(-1, *grid))


def asked_by(config: ViTConfig) -> str:
    if config.class_tokens:
        return "the class token"
    return "the mean over all patches" + ", through rows and then columns" * isinstance(config, AxialViTConfig)


def block_sees(trace: dict[str, Recorded], block: str, config: ViTConfig,
               grid: Grid) -> Float[np.ndarray, "batch heads patches"]:
    """Attention to each patch in one block, by the block's name."""
    if isinstance(config, AxialViTConfig):
        return lines_seen(trace[f"{block}.row.attention.core"], trace[f"{block}.column.attention.core"], grid)
    return patches_seen(trace[f"{block}.attention.core"], config.class_tokens, config.prefix)


def patches_seen(recorded: Recorded, class_tokens: int, prefix: int) -> Float[np.ndarray, "batch heads patches"]:
    """Attention to each patch, from the class token or averaged over the patches."""
    asking = slice(0, 1) if class_tokens else slice(prefix, None)
    return as_numbers(recorded.weights(asking).mean(2)[:, :, prefix:])


def lines_seen(along_rows: Recorded, along_columns: Recorded, grid: Grid) -> Float[np.ndarray, "batch heads patches"]:
    """Attention to each patch through a row and then a column, averaged over the patches. Heads of the two are not the
    same ones, so each of the columns' heads meets the mean of the rows'."""
    rows, columns = grid
    within_columns = along_columns.weights().unflatten(0, (-1, columns)).sum(3)  # [batch, columns, heads, rows]
    within_rows = along_rows.weights().mean(1).unflatten(0, (-1, rows))  # [batch, rows, columns, columns]
    seen = torch.einsum("bchr,brck->bhrk", within_columns, within_rows)
    return as_numbers(seen.flatten(2) / (rows * columns))


def as_numbers(values: Tensor) -> np.ndarray:
    return values.float().cpu().numpy()
