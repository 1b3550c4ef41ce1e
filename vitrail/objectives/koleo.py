"""KoLeo (arXiv 1806.03198, in DINOv2): features of different images are to lie apart, evenly over the sphere."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor

EPSILON = 1e-8


class KoLeoSettings(BaseModel):
    """`weight`: 0.1 in DINOv2, 0 turns it off. `group`: among how many images that follow each other in the stream the
    nearest neighbor is sought, so that it does not hang on the number of processes. Where a part of a batch is not
    made of whole groups, each piece of one is a group."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    weight: float = Field(0.0, ge=0)
    group: int = Field(8, ge=2)


def koleo(features: Float[Tensor, "batch width"], positions: Int[Tensor, " batch"], group: int) -> Float[Tensor, ""]:
    """Minus the mean logarithm of the distance to the nearest of the group, of features of length 1. An image by
    itself counts 0."""
    directions = F.normalize(features.float(), dim=-1, eps=EPSILON)
    with torch.no_grad():
        numbers = (positions // group).to(features.device)
        others = (numbers[:, None] == numbers) & ~torch.eye(len(numbers), dtype=torch.bool, device=numbers.device)
        nearest = (directions @ directions.T).masked_fill(~others, -2).argmax(1)
    distances = F.pairwise_distance(directions, directions[nearest], 2, EPSILON)
    return -torch.where(others.any(1), (distances + EPSILON).log(), 0.0).mean()
