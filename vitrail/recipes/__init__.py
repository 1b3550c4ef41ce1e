"""Ready-made recipes. Each file opens with its command, its cost and the result to expect."""

from __future__ import annotations

from collections.abc import Callable

from vitrail.recipe import Recipe
from vitrail.recipes import (
    augreg,
    better_plain,
    bit,
    default,
    demo,
    finetune,
    paper_finetune,
    paper_masked_patch,
    paper_pretrain,
    pretrain,
)

Choose = Callable[..., Recipe]
"""choose(source, model=None, image_size=None, seed=0, weights=None) -> Recipe"""

RECIPES: dict[str, Choose] = {
    "default": default.choose, "demo": demo.choose, "finetune": finetune.choose,
    "paper_pretrain": paper_pretrain.choose, "paper_finetune": paper_finetune.choose,
    "better_plain": better_plain.choose, "bit": bit.choose, "augreg": augreg.choose, **augreg.NAMED,
    "pretrain": pretrain.choose, "paper_masked_patch": paper_masked_patch.choose,
}

WITHOUT_LABELS = ("pretrain", "paper_masked_patch")
"""Those whose source needs no labels."""

__all__ = ["RECIPES", "WITHOUT_LABELS", "Choose"]
