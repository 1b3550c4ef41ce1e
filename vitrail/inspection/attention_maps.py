"""Which patches the answer was gathered from: attention per layer, as maps on the grid of patches."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from vitrail.bundle import Bundle
from vitrail.errors import UsageError
from vitrail.inspection.lens import attending, encoded, grid_of, pooled
from vitrail.inspection.trace import Recorded, observe
from vitrail.models import AxialViTConfig, Model, ViT, ViTConfig
from vitrail.vocabulary import Grid, RawImages

POOLING_CORE = "pool.core"


@dataclass(frozen=True)
class AttentionMaps:
    """Shares of attention from 0 to 1. What went to the class token and registers is left out and not made up for,
    so a map sums to at most 1.

    `heads` float32 [depth, batch, heads, rows, columns]. `asked_by`: whose attention this is, in words. `pooling`
    float32 [batch, rows, columns]: that of the learned query that gathers the answer, where the model pools by
    attention, else None.
    """

    heads: Float[np.ndarray, "depth batch heads rows columns"]
    asked_by: str
    pooling: Float[np.ndarray, "batch rows columns"] | None

    @property
    def layers(self) -> Float[np.ndarray, "depth batch rows columns"]:
        """Heads averaged."""
        return self.heads.mean(2)


def attention_maps(bundle: Bundle, raw: RawImages, place: tuple[int, int] | None = None) -> AttentionMaps:
    """Run the model once on uint8 images, as `bundle.preprocess` makes them; of each layer, nothing but what is asked
    for is kept.

    Whose attention: that of the patch at `place` (row, column); without, the class token's where there is one, else
    the mean over all patches (how much each is looked at). A layer of an axial model is attention along rows and then
    along columns: what a patch sees in its column has seen its own row. Raises NothingToSeeError for a model without
    attention, UsageError for a place outside of the grid.
    """
    model = attending(bundle)
    config, grid = model.config, grid_of(model, raw)
    check_place(model, raw, place)
    patch = None if place is None else place[0] * grid[1] + place[1]
    seen: dict[str, np.ndarray] = {}
    rows: dict[str, Recorded] = {}

    def see(name: str, recorded: Recorded) -> None:
        if name == POOLING_CORE:
            seen[name] = as_numbers(recorded.mean_weights()[:, 0])
        elif ".row." in name:
            rows[name.replace(".row.", ".column.")] = recorded
        elif ".column." in name:
            seen[name] = lines_seen(rows.pop(name), recorded, grid, place)
        else:
            seen[name] = patches_seen(recorded, config.class_tokens, config.prefix, patch)

    with observe(model, see):
        pooled(bundle, encoded(bundle, raw))
    pooling = seen.pop(POOLING_CORE, None)
    return AttentionMaps(heads=np.stack(list(seen.values())).reshape(config.depth, len(raw), -1, *grid),
                         asked_by=asked_by(config, place),
                         pooling=None if pooling is None else pooling.reshape(-1, *grid))


def check_place(model: Model, raw: RawImages, place: tuple[int, int] | None) -> None:
    """Raises UsageError for a patch that such images do not have. A model without patches has none to be wrong."""
    if place is None or not isinstance(model, ViT):
        return
    grid = grid_of(model, raw)
    if not (0 <= place[0] < grid[0] and 0 <= place[1] < grid[1]):
        raise UsageError(f"There is no patch at row {place[0]}, column {place[1]}: rows are 0 to {grid[0] - 1}, "
                         f"columns 0 to {grid[1] - 1}.")


def asked_by(config: ViTConfig, place: tuple[int, int] | None) -> str:
    through = ", through rows and then columns," * isinstance(config, AxialViTConfig)
    if place is not None:
        return f"the patch in row {place[0]}, column {place[1]}{through}"
    return "the class token" if config.class_tokens else f"the mean over all patches{through}"


def patches_seen(recorded: Recorded, class_tokens: int, prefix: int,
                 patch: int | None = None) -> Float[np.ndarray, "batch heads patches"]:
    """Attention to each patch: from one of them, from the class token, or averaged over the patches."""
    asking = slice(0, 1) if class_tokens else slice(prefix, None)
    if patch is not None:
        asking = slice(prefix + patch, prefix + patch + 1)
    return as_numbers(recorded.weights(asking).mean(2)[:, :, prefix:])


def lines_seen(along_rows: Recorded, along_columns: Recorded, grid: Grid,
               place: tuple[int, int] | None = None) -> Float[np.ndarray, "batch heads patches"]:
    """Attention to each patch through a row and then a column: from one of them, or averaged over all. Heads of the two
    are not the same ones, so each of the columns' heads meets the mean of the rows'."""
    rows, columns = grid
    within_columns = along_columns.weights().unflatten(0, (-1, columns))  # [batch, columns, heads, rows asking, rows]
    within_rows = along_rows.mean_weights().unflatten(0, (-1, rows))  # [batch, rows, columns asking, columns]
    if place is None:
        seen = torch.einsum("bchqr,brck->bhrk", within_columns, within_rows) / (rows * columns)
    else:
        seen = torch.einsum("bhr,brk->bhrk", within_columns[:, place[1], :, place[0]], within_rows[:, :, place[1]])
    return as_numbers(seen.flatten(2))


def as_numbers(values: Tensor) -> np.ndarray:
    return values.float().cpu().numpy()
