"""What `vitrail pretrain SOURCE` does: the default recipe's model and pictures, with patches to guess, not labels.

    vitrail pretrain photos/
    vitrail pretrain photos/ --objective mae
    vitrail pretrain photos/ --objective dino
    vitrail train labeled/ --weights runs/photos-1

Cost: a step costs about what one with labels does, and the length is that of `default`; `--dry-run` says how long,
`--epochs` shortens it. Expect a loss below that of one answer for all patches, which the journal has beside it
(train/constant_loss): on `fashion:embedded` after 6 epochs 1.07 on the test images where that is 1.69 (masked-patch,
one seed). A step of mae costs less, the more so the larger the model is; one of dino a
multiple: of each picture 2 whole crops and 6 of a quarter, and its teacher.
Where labels are few but images are many; with labels for all, `vitrail train` learns more from them (paper: 4 points
behind supervised pre-training, 2 before none).
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable
from typing import Any

from pydantic import ValidationError

from vitrail import weights as published
from vitrail.data.augment import Augmentation, MultiCrop
from vitrail.data.source import Source
from vitrail.models import ViTConfig
from vitrail.objectives import DinoSettings, MaeSettings
from vitrail.objectives.mae_decoder import DecoderSettings
from vitrail.recipe import ObjectiveSettings, Recipe
from vitrail.recipes import default
from vitrail.recipes.facts import is_long, is_small, survey
from vitrail.vocabulary import Size

BIG, HEAD = 768, 32
"""Models from this width on get the published decoder, whose heads are 32 wide."""

MAE_RATE, MAE_BATCH = 1.5e-4, 256  # 2111.06377, table 8: in proportion to the batch
LEAST_AREA = 0.2  # of a picture that a crop shows, there too

DINO_RATE, DINO_BATCH = 5e-4, 256  # 2104.14294, section 3.2
COLD = 0.04
"""The teacher's temperature, where the authors' code begins too. Answers become even where it is too near to that of
the student, 0.1, for what one crop tells of another. After 225 steps on digits (8 x 8 pixels, batches of 64) the loss
was below that of one answer for all by 0.05 % on the way to 0.07, by 0.4 % at 0.04, by 1.4 % at 0.02, and at 0.04 by
3.1 % where pictures kept their colors (2026-11)."""
PER_PROTOTYPE, FEWEST_PROTOTYPES = 20, 256  # 2104.14294: 65,536 for 1.28 million images
LOCAL_CROPS, LOCAL_SIDE, BLURRED = 6, 0.5, 224  # there 8 or 10 of 96 pixels beside 224, for which its blur is
CONVOLUTIONS = 8
"""Sides of local crops for a model without patches are multiples of this, and at least twice as long."""


def choose(source: Source, *, model: str | None = None, image_size: Size | None = None, seed: int = 0,
           weights: str | None = None, objective: str = "masked-patch") -> Recipe:
    """With `weights`, those go on learning, at the gentle rate of `finetune`. Raises UsageError and BundleError as
    `default` does."""
    chosen = default.choose(source, model=model, image_size=image_size, seed=seed, weights=weights)
    given: dict[str, Any] = {
        "name": "pretrain", "data": chosen.data.model_copy(update={"labeled": False}),
        "objective": ObjectiveSettings(name="masked-patch"),
        "augmentation": chosen.augmentation.model_copy(update={"mixup": 0.0, "cutmix": 0.0}),
    }
    chosen = chosen.model_copy(update=given)
    return Recipe.model_validate(chosen.model_copy(update=OWN.get(objective, nothing)(
        chosen, source)).model_dump())


def nothing(chosen: Recipe, source: Source) -> dict[str, Any]:
    """What is chosen for an objective beyond what all have."""
    return {}


def mae(chosen: Recipe, source: Source) -> dict[str, Any]:
    """Pictures are cropped and flipped, no more, since masks vary them enough (2111.06377, table 1e)."""
    config = chosen.model.configure(2, chosen.preprocess.size)
    moved = chosen.augmentation.model_dump(include={"crop", "pad", "area", "ratio", "flip"})
    moved["area"] = (max(LEAST_AREA, moved["area"][0]), moved["area"][1])
    optimizer = chosen.optimizer.model_copy(update={"betas": (0.9, 0.95)})
    reasons = chosen.reasons | {"images": chosen.reasons["images"].partition("; varied")[0]}
    if chosen.model.weights is None and isinstance(config, ViTConfig) and config.width >= BIG:
        rate = MAE_RATE * chosen.training.batch_size / MAE_BATCH
        optimizer = optimizer.model_copy(update={"learning_rate": rate, "weight_decay": 0.05})
        reasons = reasons | {"optimizer": "as published (2111.06377), in proportion to the batch"}
    settings = MaeSettings(decoder=choose_decoder(chosen, config)) if isinstance(config, ViTConfig) else MaeSettings()
    return {"objective": ObjectiveSettings(name="mae", mae=settings), "optimizer": optimizer, "reasons": reasons,
            "augmentation": Augmentation.model_validate(moved)}


def choose_decoder(chosen: Recipe, encoder: ViTConfig) -> DecoderSettings:
    """That of the weights, where their file holds one for patches of this size."""
    given = chosen.model.weights
    found = published.read(given.path, published.Told(chosen.preprocess.size)).decoder() if given else None
    if found is not None and found.outputs == encoder.channels * encoder.patch[0] * encoder.patch[1]:
        with contextlib.suppress(ValidationError):  # a file may say anything
            return DecoderSettings(width=found.width, depth=found.depth, heads=found.heads)
    return light_decoder(encoder)


def light_decoder(encoder: ViTConfig) -> DecoderSettings:
    """The published one for big models; for smaller ones half as wide and a third as deep as they are, which the
    published one is beside a ViT-L."""
    if encoder.width >= BIG:
        return DecoderSettings()
    heads = max(1, round(encoder.width / 2 / HEAD))
    return DecoderSettings(width=heads * HEAD, depth=max(1, round(encoder.depth / 3)), heads=heads)


def dino(chosen: Recipe, source: Source) -> dict[str, Any]:
    """Heads in proportion to the model and the data, and crops to the pictures. Of local ones a side is half of the
    picture's, in whole patches, and the smallest has as many pixels before it is resized: 5 % of 500 x 375 for 96, as
    published. From less of a small picture nothing can be said, and all answers become even."""
    facts = survey(source)
    config, size = chosen.model.configure(2, chosen.preprocess.size), chosen.preprocess.size
    step, fewest = (config.patch, 1) if isinstance(config, ViTConfig) else ((CONVOLUTIONS, CONVOLUTIONS), 2)
    local = tuple(max(fewest, round(LOCAL_SIDE * side / one)) * one for side, one in zip(size, step, strict=True))
    wanted = 2 ** round(math.log2(facts.images / PER_PROTOTYPE))
    prototypes = min(DinoSettings().prototypes, max(FEWEST_PROTOTYPES, wanted))
    settings = DinoSettings(prototypes=prototypes, hidden=min(2048, 4 * config.embedding),
                            bottleneck=min(256, config.embedding), teacher_temperature=(COLD, COLD))
    least = min(0.5, max(0.05, local[0] * local[1] / (facts.height * facts.width)))
    border, shape = max(0.4, least), facts.width / facts.height if is_long(facts) else 1.0
    crops = MultiCrop(local=LOCAL_CROPS, local_size=local, local_area=(least, max(border, min(2 * least, 0.8))),
                      global_area=(border, 1.0), ratio=(3 / 4 * shape, 4 / 3 * shape),
                      blur_radius=(0.1, max(0.5, 2.0 * min(size) / BLURRED)), recolored=0.0 if is_small(facts) else 0.8)
    reasons = chosen.reasons | {"learning": f"about {PER_PROTOTYPE} images to a prototype, as published on ImageNet, "
                                            f"and at least {FEWEST_PROTOTYPES} prototypes"}
    optimizer = chosen.optimizer
    if chosen.model.weights is None:
        rate = DINO_RATE * chosen.training.batch_size / DINO_BATCH
        optimizer = optimizer.model_copy(update={"learning_rate": rate})
        reasons = reasons | {"optimizer": "as published (2104.14294), in proportion to the batch: at higher rates the "
                                          "teacher's answers become even"}
    return {"objective": ObjectiveSettings(name="dino", dino=settings), "reasons": reasons, "optimizer": optimizer,
            "augmentation": Augmentation(flip=chosen.augmentation.flip, multi_crop=crops)}


OWN: dict[str, Callable[[Recipe, Source], dict[str, Any]]] = {"mae": mae, "dino": dino}
