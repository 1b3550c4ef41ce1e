"""Masked patch prediction: three targets and two shares of corrupted patches (paper, appendix B.1.2)."""

from __future__ import annotations

from vitrail.models import ViTConfig
from vitrail.objectives.patch_targets import CELLS
from vitrail.recipe import Recipe
from vitrail.studies.ablations import bases
from vitrail.studies.ablations.ablation import Ablation, Claim, Variant, among

TARGET, CORRUPTED = "objective.masked_patch.target", "objective.masked_patch.corrupted"


def targets(base: Recipe) -> tuple[Variant, ...]:
    found = (
        Variant("mean-color", "mean colors, half corrupted", {TARGET: "mean-color", CORRUPTED: 0.5},
                "its choice: 79.9 % on ImageNet after fine-tuning"),
        Variant("downsized", "4x4 colors, half corrupted", {TARGET: "downsized", CORRUPTED: 0.5}, "about as good"),
        Variant("pixels", "pixels, half corrupted", {TARGET: "pixels", CORRUPTED: 0.5}, "slightly worse"),
        Variant("mean-color-15", "mean colors, 15 % corrupted", {TARGET: "mean-color", CORRUPTED: 0.15},
                "slightly worse"),
        Variant("untrained", "untrained", {}, "2 points behind, after fine-tuning", runs_of="mean-color",
                reads="floor"),
    )
    return tuple(one for one in found if one.name != "downsized" or large_enough(base))


def large_enough(base: Recipe) -> bool:
    """For patches to be downsized."""
    config = base.model.configure(2, base.preprocess.size)
    return isinstance(config, ViTConfig) and min(config.patch) >= CELLS


def left_out(base: Recipe) -> tuple[str, ...]:
    return () if large_enough(base) else (
        f"Patches this small cannot be downsized to {CELLS}x{CELLS}, so that target is left out.",)


MASKED_PATCH = Ablation(
    "masked-patch", "which patches to guess, how much of them, and is it worth anything?",
    bases.without_labels, targets,
    among((Claim("mean-color", "untrained", "better", "2 points above training from scratch, both fine-tuned"),
           Claim("downsized", "mean-color", "equal", "about as good"),
           Claim("mean-color", "pixels", "better", "pixels are slightly worse"),
           Claim("mean-color", "mean-color-15", "better", "15 % is slightly worse"))),
    "accuracy by frozen features and a few labels of each class", "accuracy on ImageNet after fine-tuning (B.1.2)",
    left_out=left_out)
