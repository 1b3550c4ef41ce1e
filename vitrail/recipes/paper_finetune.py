"""Fine-tuning as the paper does it (Table 4): SGD with momentum, no weight decay, cosine, at a higher resolution.

    vitrail train photos/ --recipe paper_finetune --weights B_16.npz

Cost: 512 images a step at 384 pixels; 500 steps up to 10,000 images, 10,000 up to 500,000, then 20,000. B/16 took 17
minutes for 500 steps on an A100. Expect, from ImageNet-21k: B/16 98.6 % on CIFAR-10 after 500 steps, 99.0 % after
10,000; 89.2 and 92.1 % on CIFAR-100 (google-research/vision_transformer).

The learning rate is from the middle of the paper's grid (0.001, 0.003, 0.01, 0.03). `--lr search` tries them all as the
paper does, each for as long as the run, on a dev split carved from train; `--lr search:100` tries them for 100 steps.
Weights are averaged (0.9999) where the paper does it, on data of ImageNet's size. `finetune` is for few images and
small machines.
"""

from __future__ import annotations

from vitrail import weights as published
from vitrail.data.augment import Augmentation
from vitrail.data.source import Source
from vitrail.errors import UsageError
from vitrail.models import BiTConfig, ModelConfig
from vitrail.recipe import DataSettings, Recipe, validated_recipe
from vitrail.recipes.facts import UNFLIPPED
from vitrail.recipes.finetune import choose_model, started
from vitrail.recipes.published import batches, inception
from vitrail.training.optimizer import OptimizerSettings
from vitrail.training.schedule import Schedule
from vitrail.vocabulary import Size

BATCH, RATE, SIDE = 512, 0.01, 384
STEPS = ((10_000, 500, 100), (500_000, 10_000, 500))
"""Up to so many images: steps, and steps of warmup."""
MOST_STEPS, LONG_WARMUP, POLYAK = 20_000, 500, 0.9999


def choose(source: Source, *, weights: str | None = None, model: str | None = None, image_size: Size | None = None,
           seed: int = 0) -> Recipe:
    """Raises BundleError where the weights cannot be read, UsageError without weights or where sizes do not fit."""
    if weights is None:
        raise UsageError("The recipe paper_finetune starts from trained weights. Give them: --weights FILE")
    reading = published.read(weights, published.Told(image_size))
    given, images = reading.config, len(source.splits["train"])
    size = image_size or higher(given.model)
    steps, warmup = next(((steps, warmup) for most, steps, warmup in STEPS if images <= most),
                         (MOST_STEPS, LONG_WARMUP))
    return validated_recipe({
        "name": "paper_finetune", "seed": seed, "data": DataSettings(source=source.spec),
        "model": choose_model(given, model, size, started(reading, weights)),
        "preprocess": given.preprocess.model_copy(update={"size": size}), "augmentation": augmentation(source),
        "optimizer": OptimizerSettings(name="sgd", learning_rate=RATE, weight_decay=0.0, decayed="none", clip=1.0),
        "schedule": Schedule(steps=steps, warmup=warmup),
        "training": batches(BATCH, images, average=POLYAK if images > STEPS[-1][0] else None),
        "reasons": {
            "images": "asked for" if image_size else "larger than in pre-training",
            "model": "as the weights are", "optimizer": "Table 4; --lr search also tries 0.001, 0.003 and 0.03",
            "length": f"Table 4, for {images:,} training images",
        },
    })


def augmentation(source: Source) -> Augmentation:
    """Digits and the like are not flipped."""
    return inception(flip=0.0 if source.spec in UNFLIPPED else 0.5)


def higher(config: ModelConfig) -> Size:
    """384 pixels where that is more than the weights have seen, a whole number of patches."""
    if min(config.image_size) >= SIDE:
        return config.image_size
    step = 1 if isinstance(config, BiTConfig) else config.patch
    rows, columns = (step, step) if isinstance(step, int) else step
    return SIDE // rows * rows, SIDE // columns * columns
