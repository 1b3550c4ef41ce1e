"""Models small enough to test everything, with weights that leave nothing asleep."""

from __future__ import annotations

from typing import Any

import torch
from pydantic import TypeAdapter
from torch import Tensor

from vitrail.models import AnyConfig, ModelConfig, build
from vitrail.models.vit.config import PLACEMENTS
from vitrail.models.vit.patches import places_of
from vitrail.vocabulary import Grid, Tokens

EVERY_POSITION = [(kind, place) for kind, places in PLACEMENTS.items() for place in places]


CONFIG: TypeAdapter[Any] = TypeAdapter(AnyConfig)


def small(**overrides: Any) -> Any:
    """24 x 16 pixels in patches of 8 x 4: a grid of 3 x 4. `family` chooses another than ViT."""
    fields: dict[str, Any] = {"family": "vit", "image_size": (24, 16), "classes": 5}
    if overrides.get("family") == "bit":
        return CONFIG.validate_python(fields | {"depths": (1, 2), "width": 0.125} | overrides)
    if overrides.get("family") == "axial-resnet":
        return CONFIG.validate_python(fields | {"depths": (1, 2), "width": 0.125, "heads": 2} | overrides)
    fields |= {"patch": (8, 4), "width": 16, "depth": 2, "heads": 2, "mlp": 24}
    if overrides.get("family") == "hybrid":
        fields |= {"stem_depths": (1,), "stem_width": 0.125}
    return CONFIG.validate_python(fields | overrides)


def awake(config: ModelConfig, seed: int = 0, std: float = 0.3) -> Any:
    """The model in evaluation, every parameter drawn at random: also those that start from zero or one."""
    torch.manual_seed(seed)
    model = build(config)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.normal_(std=std)
    return model.eval()


def pictures(config: ModelConfig, batch: int = 2, seed: int = 1) -> Tensor:
    return torch.randn(batch, config.channels, *config.image_size, generator=torch.Generator().manual_seed(seed))


def tokens_on(grid: Grid, width: int, batch: int = 2, seed: int = 2) -> Tokens:
    values = torch.randn(batch, grid[0] * grid[1], width, generator=torch.Generator().manual_seed(seed))
    return Tokens(values, places_of(grid, values.device), grid)
