"""A trained model at another image or patch size: what training at that size starts from (paper, section 3.2)."""

from __future__ import annotations

import torch
from pydantic import ValidationError

from vitrail.errors import UsageError
from vitrail.models.families import Model, ModelConfig, build_with
from vitrail.models.vit.config import ViTConfig
from vitrail.models.vit.positions import Positions
from vitrail.models.vit.resize import resize_kernel
from vitrail.models.vit.vit import ViT
from vitrail.vocabulary import Size

TABLES = ("learned", "learned-2d", "relative")
"""Positions that are learned for one grid."""


@torch.no_grad()
def at_size(model: Model, image_size: Size, patch: Size | None = None) -> Model:
    """The same weights, with position tables (and kernels of patches) resampled once; the others are shared. Any
    model also takes images of other sizes as it is, and then resamples its tables on every call.

    Raises UsageError where sizes do not fit, or patches are to change of a model that is no plain ViT.
    """
    config = config_at_size(model.config, image_size, patch)
    if config == model.config:
        return model
    weights = model.state_dict()
    if isinstance(model, ViT):
        positions: Positions = model.encoder.positions
        for number, table in enumerate(positions.tables):
            changed = table.resampled(config.grid)  # type: ignore[operator]
            weights |= {f"encoder.positions.tables.{number}.{name}": value for name, value in changed.items()}
        if patch not in (None, model.config.patch):  # of a plain ViT, then
            weights["patchify.weight"] = resize_kernel(weights["patchify.weight"], patch)
    other = build_with(config, weights)
    return other.train(model.training).requires_grad_(next(model.parameters()).requires_grad)


def config_at_size(config: ModelConfig, image_size: Size, patch: Size | None = None) -> ModelConfig:
    """The config of `at_size`."""
    if patch is not None and type(config) is not ViTConfig and patch != getattr(config, "patch", None):
        raise UsageError(f"Patches of {sides(patch)} pixels: {config.name} cannot change its patches, only a plain ViT "
                         "can.")
    try:
        return config.at_size(image_size, patch) if type(config) is ViTConfig else config.at_size(image_size)
    except ValidationError as error:
        reason = error.errors()[0]["msg"].removeprefix("Value error, ")
        raise UsageError(f"{config.name} cannot take images of {sides(image_size)} pixels: {reason}.") from None


def describe_change(before: ModelConfig, after: ModelConfig) -> list[str]:
    """What `at_size` does to the weights, in words."""
    words = []
    if isinstance(before, ViTConfig) and isinstance(after, ViTConfig):
        if before.positions in TABLES and before.grid != after.grid:
            words.append(f"positions resampled from {sides(before.grid)} to {sides(after.grid)} ({before.resampling})")
        if before.patch != after.patch:
            words.append(f"patches resized from {sides(before.patch)} to {sides(after.patch)} pixels (pseudo-inverse)")
    return words


def sides(pair: Size) -> str:
    return f"{pair[0]}x{pair[1]}"
