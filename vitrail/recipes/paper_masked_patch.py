"""Self-supervision as the paper does it (section 4.6, appendix B.1.2): masked patch prediction with a ViT-B/16.

    vitrail pretrain photos/ --recipe paper_masked_patch
    vitrail train labeled/ --recipe paper_finetune --weights runs/photos-1

Cost: the paper's. 1,000,000 steps of 4096 images (14 epochs of JFT) are 4.3 * 10^20 FLOPs; it says that gains diminish
after 100,000, `--steps 100000`. Expect after fine-tuning on ImageNet: 79.9 %, 2 points more than from scratch and 4
fewer than after supervised pre-training; about the same gain from pre-training on ImageNet itself.

Adam at 2e-4, 10,000 steps of warmup, cosine. Weight decay is that of Table 3, since the appendix names none.
`--set objective.masked_patch.corrupted=0.15` is its other corruption rate, `--target` chooses among its three targets.
"""

from __future__ import annotations

from vitrail.data.source import Source
from vitrail.recipe import DataSettings, EvaluationSettings, ModelSettings, ObjectiveSettings, Recipe
from vitrail.recipes.published import batches, from_scratch, inception, pictures
from vitrail.training.optimizer import OptimizerSettings
from vitrail.training.schedule import Schedule
from vitrail.vocabulary import Size

BATCH, RATE, DECAY, STEPS, WARMUP = 4096, 2e-4, 0.1, 1_000_000, 10_000
LOOKS = 100


def choose(source: Source, *, model: str | None = None, image_size: Size | None = None, seed: int = 0,
           weights: str | None = None) -> Recipe:
    """Raises UsageError for weights, and for a model that cannot be."""
    from_scratch("paper_masked_patch", weights)
    images = len(source.splits["train"])
    training = batches(BATCH, images)
    return Recipe(
        name="paper_masked_patch", seed=seed, data=DataSettings(source=source.spec, labeled=False),
        model=ModelSettings(name=model or "B/16"), preprocess=pictures(image_size or (224, 224)),
        augmentation=inception(), objective=ObjectiveSettings(name="masked-patch"),
        optimizer=OptimizerSettings(name="adam", learning_rate=RATE, weight_decay=DECAY, clip=None),
        schedule=Schedule(kind="cosine", steps=STEPS, warmup=WARMUP), training=training,
        evaluation=EvaluationSettings(every_epochs=max(1.0, STEPS * training.batch_size / images / LOOKS)),
        reasons={"model": "the paper's", "optimizer": "appendix B.1.2",
                 "length": "appendix B.1.2; gains diminish after 100,000 steps"},
    )
