"""Which patches the answer was gathered from: attention per layer, as maps on the grid of patches."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float
from torch import Tensor

from vitrail.bundle import Bundle
from vitrail.errors import UsageError
from vitrail.inspection.trace import Recorded, record
from vitrail.models import ViTConfig
from vitrail.vocabulary import RawImages

POOLING_CORE = "pool.core"

NO_ATTENTION = "A ResNet sees through convolutions only: it has neither tokens nor attention."


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
    Raises UsageError for a model without attention.
    """
    config = bundle.model.config
    if not isinstance(config, ViTConfig):
        raise UsageError(f"{config.name} has no attention to look at. {NO_ATTENTION}")
    with record(bundle.model) as trace:
        bundle.logits(raw)
    heads = [patches_seen(trace[f"encoder.blocks.{layer}.attention.core"], config.class_tokens, config.prefix)
             for layer in range(config.depth)]
    grid = raw.shape[-2] // config.patch[0], raw.shape[-1] // config.patch[1]
    on_grid = [seen.reshape(*seen.shape[:2], *grid) for seen in heads]
    pooling = trace.get(POOLING_CORE)
    return AttentionMaps(
        layers=np.stack([seen.mean(1) for seen in on_grid]),
        last=on_grid[-1],
        asked_by="the class token" if config.class_tokens else "the mean over all patches",
        pooling=None if pooling is None else as_numbers(pooling.weights().mean(1)[:, 0]).reshape(-1, *grid))


def patches_seen(recorded: Recorded, class_tokens: int, prefix: int) -> Float[np.ndarray, "batch heads patches"]:
    """Attention to each patch, from the class token or averaged over the patches."""
    asking = slice(0, 1) if class_tokens else slice(prefix, None)
    return as_numbers(recorded.weights(asking).mean(2)[:, :, prefix:])


def as_numbers(values: Tensor) -> np.ndarray:
    return values.float().cpu().numpy()
