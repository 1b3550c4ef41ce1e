"""Ready-made recipes. Each file opens with its command, its cost and the result to expect."""

from __future__ import annotations

from collections.abc import Callable

from vitrail.recipe import Recipe
from vitrail.recipes import default, demo, finetune

Choose = Callable[..., Recipe]
"""choose(source, model=None, image_size=None, seed=0, weights=None) -> Recipe"""

RECIPES: dict[str, Choose] = {"default": default.choose, "demo": demo.choose,
                              "finetune": finetune.choose}

__all__ = ["RECIPES", "Choose"]
