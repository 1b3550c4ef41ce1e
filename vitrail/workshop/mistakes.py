"""Mistakes that people are known to make, seen before anything is trained: a sentence each, with what to do instead.

None of them stops a run: who knows better goes on.
"""

from __future__ import annotations

import math

from vitrail.data.augment import Augmentation
from vitrail.data.augment.policies import RANDAUGMENT_PIXELS, TRIVIAL_PIXELS
from vitrail.models import BiTConfig, HybridConfig, ModelConfig, describe
from vitrail.objectives import Activation
from vitrail.recipe import Recipe
from vitrail.vocabulary import Size

FEW_PATCHES = 16
"""With fewer there is little to attend to, and most of a picture's detail is lost in the first layer."""

TOKEN_RATE, MEAN_RATE, BASE = 8e-4, 3e-4, 768
"""Appendix D.3, figure 9: with mean pooling a ViT-B (so wide) learned badly at the class token's learning rate, and as
well as with a class token at the lower one."""

LARGE, HUNGRY = 5_000_000, 5_000
"""Parameters, and parameters for each training image: far more than of the paper's ViT-L/16 on ImageNet alone (240),
which is already behind its ViT-B/16 (67)."""

MANY_CLASSES = 100
"""From here on a sigmoid that starts at one half for each spends its first epochs on saying no."""


def known_mistakes(recipe: Recipe, config: ModelConfig, images: int, total_steps: int | None,
                   loss: Activation) -> list[str]:
    """`images`: for training; `loss`: which the labels made of "auto"."""
    words = [large_batch(recipe, images), few_patches(config), eager_mean(recipe, config),
             large_from_scratch(recipe, config, images), other_values(recipe), long_warmup(recipe, total_steps),
             undecided(recipe, config, loss), large_crops(recipe)]
    return [one for one in words if one] + out_of_sight(recipe.augmentation, recipe.preprocess.size)


def large_batch(recipe: Recipe, images: int) -> str | None:
    """More images in a step than there are."""
    batch = recipe.training.batch_size
    return None if batch <= images else (
        f"a batch of {batch:,} is more than the {images:,} training images, so each comes more than once in a step. "
        f"Use --set training.batch_size={max(1, images // 10)}, or so.")


def few_patches(config: ModelConfig) -> str | None:
    """A patch that is too large for the pictures, such as 16 on 32 pixels."""
    if isinstance(config, BiTConfig) or math.prod(config.grid) >= FEW_PATCHES:
        return None
    (height, width), patch = config.image_size, config.patch
    count = math.prod(config.grid)
    smaller = [side for side in range(1, min(patch)) if height % side == width % side == 0
               and height * width // side**2 >= FEW_PATCHES]
    size, slash, _ = config.name.rpartition("/")
    name = f"smaller patches, --model {size}/{smaller[-1]}, or " if (
        smaller and slash and not isinstance(config, HybridConfig)) else ""
    return (f"{config.name} cuts pictures of {height}x{width} pixels into {count} patch{'es' if count > 1 else ''}, "
            f"too few to attend to. Use {name}larger pictures, --image-size {4 * patch[0]}x{4 * patch[1]}.")


def eager_mean(recipe: Recipe, config: ModelConfig) -> str | None:
    """Mean pooling at the learning rate of a class token."""
    rate = recipe.optimizer.learning_rate
    if not recipe.objective.labeled:  # nothing is pooled
        return None
    if getattr(config, "pooling", None) != "mean" or recipe.optimizer.name == "sgd" or recipe.model.weights:
        return None
    of_the_paper = recipe.name == "paper_pretrain" and "optimizer" in recipe.reasons  # the rate was not set since
    wide = not isinstance(config, BiTConfig) and config.width >= BASE and rate >= TOKEN_RATE
    if not of_the_paper and (not wide or recipe.name == "better_plain"):  # which is tuned for it
        return None
    token = "" if config.family == "axial-vit" else ", or --set model.settings.pooling=token"
    return (f"mean pooling with a learning rate of {rate:g}, which suits a class token: the paper's ViT-B learned "
            f"badly so at {TOKEN_RATE:g}, and well at {MEAN_RATE:g} (figure 9). Use --lr "
            f"{min(MEAN_RATE, rate * MEAN_RATE / TOKEN_RATE):.2g}{token}.")


def large_from_scratch(recipe: Recipe, config: ModelConfig, images: int) -> str | None:
    parameters = describe(config).parameters
    if recipe.model.weights or isinstance(config, BiTConfig) or parameters <= max(LARGE, HUNGRY * images):
        return None
    return (f"{config.name} has {parameters / 1e6:,.0f} M parameters for {images:,} training images: from scratch a "
            "transformer of this size needs many more (paper, section 4.3). Start from trained weights, --weights "
            "FILE, or leave out --model for one that fits your data.")


def other_values(recipe: Recipe) -> str | None:
    """Trained weights that are fed other numbers than they have learned from."""
    weights, ours = recipe.model.weights, recipe.preprocess
    if weights is None or weights.mean is None or weights.std is None:
        return None
    apart = max(abs(one - other) for one, other in zip((*weights.mean, *weights.std), (*ours.mean, *ours.std),
                                                       strict=True))
    if apart < 1e-3:
        return None
    return (f"{weights.path} learned from pictures of mean {listed(weights.mean)} and std {listed(weights.std)}, but "
            f"this run normalizes by {listed(ours.mean)} and {listed(ours.std)}. Use --set "
            f"'preprocess.mean={list(weights.mean)}' --set 'preprocess.std={list(weights.std)}'.")


def listed(values: tuple[float, ...]) -> str:
    return ", ".join(f"{value:g}" for value in values)


def long_warmup(recipe: Recipe, total_steps: int | None) -> str | None:
    warmup = recipe.schedule.warmup
    if total_steps is None or warmup < max(1, total_steps):
        return None
    return (f"a warmup of {warmup:,.0f} steps in a run of {total_steps:,}: the learning rate only rises, to "
            f"{total_steps / warmup:.2g} of what is asked for. Use --set schedule.warmup=0.1, a share of the run, or "
            "train for longer.")


def undecided(recipe: Recipe, config: ModelConfig, loss: Activation) -> str | None:
    """A sigmoid for many classes whose head starts without a bias."""
    if loss != "sigmoid" or config.classes < MANY_CLASSES or config.head_bias <= -1 or recipe.model.head == "keep":
        return None
    return (f"a sigmoid loss for {config.classes:,} classes whose head starts at one half for each. Use --set "
            f"model.settings.head_bias={-math.log(config.classes):.1f}, so that it starts at about one class an image.")


def large_crops(recipe: Recipe) -> str | None:
    """Local crops that are larger than the whole view."""
    local, size = recipe.augmentation.multi_crop.local_size, recipe.preprocess.size
    if recipe.objective.name != "dino" or not recipe.augmentation.multi_crop.local or not any(
            small > whole for small, whole in zip(local, size, strict=True)):
        return None
    return (f"local crops of {local[0]}x{local[1]} pixels are larger than the global ones of {size[0]}x{size[1]}, of "
            "which they are to be parts. Use --set augmentation.multi_crop.local_size="
            f"{max(1, min(size) // 2)}, or so, in whole patches.")


def out_of_sight(chosen: Augmentation, size: Size) -> list[str]:
    """A warning for each kind of augmentation that can move a whole picture of this size out of itself."""
    policy, side, words = chosen.randaugment, min(size), []
    reach = policy.magnitude / 10 * RANDAUGMENT_PIXELS
    if policy.layers and reach >= side:
        words.append(f"RandAugment of magnitude {policy.magnitude:g} moves pictures by up to {reach:g} pixels, so "
                     f"those of {size[0]}x{size[1]} out of sight: its distances are for 224 pixels. Use a magnitude of "
                     f"at most {5 * side / RANDAUGMENT_PIXELS:.2g}.")
    if chosen.trivial_augment and side <= TRIVIAL_PIXELS:
        words.append(f"TrivialAugment moves pictures by up to {TRIVIAL_PIXELS} pixels, so those of {size[0]}x{size[1]} "
                     "out of sight: its distances are for larger ones.")
    return words
