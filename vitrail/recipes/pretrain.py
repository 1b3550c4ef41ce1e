"""What `vitrail pretrain SOURCE` does: the default recipe's model and pictures, masked patches in the place of labels.

    vitrail pretrain photos/
    vitrail train labeled/ --weights runs/photos-1

Cost: a step costs about what one with labels does, and the length is that of `default`; `--dry-run` says how long,
`--epochs` shortens it. Expect on `fashion` a loss well below that of one answer for all patches, which the journal has
beside it (train/constant_loss). Of what it is worth to the labels that come later, docs/results.md.
Where labels are few but images are many; with labels for all, `vitrail train` learns more from them (paper: 4 points
behind supervised pre-training, 2 before none).
"""

from __future__ import annotations

from typing import Any

from vitrail.data.source import Source
from vitrail.recipe import ObjectiveSettings, Recipe
from vitrail.recipes import default
from vitrail.vocabulary import Size


def choose(source: Source, *, model: str | None = None, image_size: Size | None = None, seed: int = 0,
           weights: str | None = None) -> Recipe:
    """With `weights`, those go on learning, at the gentle rate of `finetune`. Raises UsageError and BundleError as
    `default` does."""
    chosen = default.choose(source, model=model, image_size=image_size, seed=seed, weights=weights)
    given: dict[str, Any] = {
        "name": "pretrain", "data": chosen.data.model_copy(update={"labeled": False}),
        "objective": ObjectiveSettings(name="masked-patch"),
        "augmentation": chosen.augmentation.model_copy(update={"mixup": 0.0, "cutmix": 0.0}),
    }
    return Recipe.model_validate(chosen.model_copy(update=given).model_dump())
