"""iBOT's term (arXiv 2111.07832, in DINOv2): say of hidden patches what the teacher says, which sees them."""

from __future__ import annotations

from typing import Literal

import torch
from jaxtyping import Bool, Float, Int
from pydantic import BaseModel, ConfigDict, Field, model_validator
from torch import Tensor

from vitrail.models import ViT
from vitrail.objectives.chance import uniform
from vitrail.vocabulary import Images, Tokens


class IbotSettings(BaseModel):
    """`weight`: 1 in DINOv2, 0 turns it off. Of a share `images` of the global crops, patches are replaced by a learned
    mask before positions are added: a share of them within `masked`, drawn evenly, in random places. `head`: the one
    for images, or an own one for patches (DINOv2, which found that better with much data)."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    weight: float = Field(0.0, ge=0)
    images: float = Field(0.5, gt=0, le=1)
    masked: tuple[float, float] = (0.1, 0.5)
    head: Literal["shared", "own"] = "shared"

    @model_validator(mode="after")
    def check_masked(self) -> IbotSettings:
        low, high = self.masked
        if not 0 < low <= high < 1:
            raise ValueError(f"masked ({low:g}, {high:g}) is no range of shares: give two between 0 and 1, the smaller "
                             "one first")
        return self


def masks(settings: IbotSettings, seed: int, positions: Int[Tensor, " batch"], crops: int,
          patches: int) -> Bool[Tensor, "batch crops patches"]:
    """Which patches are hidden, out of the seed and the position: at least one and not all of a crop, or none."""
    chosen, amount, order = uniform(seed, positions, crops * (2 + patches)).unflatten(1, (crops, -1)).split(
        (1, 1, patches), dim=-1)
    low, high = settings.masked
    count = ((low + (high - low) * amount) * patches).round().clamp(1, max(1, patches - 1))
    places = order.argsort(dim=-1, stable=True).argsort(dim=-1, stable=True)
    return (places < count) & (chosen < settings.images)


def embed_with_patches(
    model: ViT, images: Images, hidden: Bool[Tensor, "batch patches"] | None, mask: Tensor | None
) -> tuple[Float[Tensor, "batch embedding"], Float[Tensor, "batch patches width"]]:
    """What `model.embed` gives, with some patches hidden, and the patches beside it."""
    config, tokens = model.config, model.patchify(images)
    values = tokens.values
    if hidden is not None and mask is not None:
        values = torch.where(hidden[..., None], mask.to(values.dtype), values)
    values = model.encode_tokens(Tokens(values, tokens.places, tokens.grid))
    patches = values[:, config.prefix :]
    if config.norm_at == "pooled" and config.pooled == config.width:
        patches = model.pool_norm(patches)
    return model.projection(model.hidden(model.pool_norm(model.pool(values)))), patches


def patch_loss(targets: Float[Tensor, "hidden prototypes"], logits: Float[Tensor, "hidden prototypes"],
               hidden: Bool[Tensor, "crops patches"]) -> Float[Tensor, ""]:
    """Cross-entropy, averaged over the hidden patches of a crop, then over crops, those without any too."""
    counts = hidden.sum(1, keepdim=True)
    weights = (1 / counts.clamp(min=1)).expand_as(hidden)[hidden]
    return -(weights * (targets * logits.log_softmax(-1)).sum(-1)).sum() / len(hidden)
