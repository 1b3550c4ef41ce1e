"""Shape and patch: what a model gains by being larger in each direction (paper, Figure 8)."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Any

from vitrail.errors import UsageError
from vitrail.models import ViTConfig
from vitrail.models.vit.variants import with_patch
from vitrail.recipe import Recipe
from vitrail.studies.ablations import bases
from vitrail.studies.ablations.ablation import Ablation, Claim, Variant, among

SCALES = {"half": 0.5, "twice": 2.0}
EACH = 2 ** (1 / 3)
"""Depth, width and MLP width by so much are twice the compute together."""

MEASURE = "accuracy on the {held_out}"


def config_of(base: Recipe) -> ViTConfig:
    config = base.model.configure(2, base.preprocess.size)
    assert isinstance(config, ViTConfig)
    return config


def shapes(base: Recipe) -> tuple[Variant, ...]:
    """The base, and each direction at about half and twice as much; only those that there can be."""
    found = [Variant("base", "as it is", {}, "8 layers, 1024 wide, MLP 2048, patches of 32")]
    for group, scaled in DIRECTIONS.items():
        for scale, factor in SCALES.items():
            if settings := scaled(base, factor):
                found.append(Variant(f"{group}-{scale}", words(group, settings), settings, group=group))
    return tuple(found)


def impossible(base: Recipe) -> tuple[str, ...]:
    found = {one.name for one in shapes(base)}
    missing = [f"{group} ({scale})" for group in DIRECTIONS for scale in SCALES
               if f"{group}-{scale}" not in found]
    return (f"Left out, since there is none for this model and these pictures: {', '.join(missing)}.",) * bool(missing)


def words(group: str, settings: dict[str, Any]) -> str:
    if group == "patch":
        return f"{side_of(settings)}-pixel patches"
    size = {name.rpartition(".")[2]: value for name, value in settings.items()}
    told = {"depth": "{depth} layers", "width": "{width} wide", "MLP": "MLP {mlp} wide",
            "all": "{depth} layers, {width} wide, MLP {mlp}"}[group]
    return told.format(**size)


def depth(base: Recipe, factor: float) -> dict[str, Any]:
    own = config_of(base).depth
    layers = max(1, round(own * factor))
    return {} if layers == own else {"model.settings.depth": layers}


def width(base: Recipe, factor: float) -> dict[str, Any]:
    """Heads keep their width where there can be so many of them; the MLP stays as it is."""
    config = config_of(base)
    heads = config.heads * factor
    if heads == int(heads):
        wide, count = int(heads) * config.head_width, int(heads)
    else:
        step = 4 * config.heads
        wide, count = max(step, round(config.width * factor / step) * step), config.heads
    return {} if wide == config.width else {"model.settings.width": wide, "model.settings.heads": count}


def mlp(base: Recipe, factor: float) -> dict[str, Any]:
    return {"model.settings.mlp": max(1, round(config_of(base).mlp * factor))}


def together(base: Recipe, factor: float) -> dict[str, Any]:
    """Patches stay, since they are whole pixels; {} where depth or width cannot change so little."""
    each = EACH if factor > 1 else 1 / EACH
    parts = depth(base, each), width(base, each), mlp(base, each)
    return {} if not all(parts) else {name: value for part in parts for name, value in part.items()}


def scaled_patch(base: Recipe, factor: float) -> dict[str, Any]:
    config = config_of(base)
    fitting = [side for side in sides_that_fit(config) if (side < config.patch[0]) == (factor < 1)
               and side != config.patch[0]]
    side = nearest(fitting, config.patch[0] * factor)
    return {} if side is None else patch_settings(base, side)


DIRECTIONS: dict[str, Callable[[Recipe, float], dict[str, Any]]] = {
    "depth": depth, "width": width, "MLP": mlp, "patch": scaled_patch, "all": together}


def sides_that_fit(config: ViTConfig) -> list[int]:
    """Sides of square patches of which a picture is at least two in one direction."""
    common = math.gcd(*config.image_size)
    return [side for side in range(1, common + 1) if common % side == 0 and max(config.image_size) > side]


def nearest(sides: Sequence[int], wanted: float) -> int | None:
    """None where all are further away than half an octave, a factor of 1.4."""
    near = [side for side in sides if abs(math.log2(side / wanted)) < 0.5]
    return min(near, key=lambda side: abs(math.log2(side / wanted)), default=None)


def patch_settings(base: Recipe, side: int) -> dict[str, Any]:
    name = with_patch(base.model.name, (side, side))
    named = {} if name == base.model.name else {"model.name": name}
    given = "patch" in base.model.settings or not named
    return named | ({"model.settings.patch": [side, side]} if given else {})


def side_of(settings: dict[str, Any]) -> int:
    if "model.settings.patch" in settings:
        return int(settings["model.settings.patch"][0])
    return int(settings["model.name"].rpartition("/")[2])


def patch_sizes(base: Recipe) -> tuple[Variant, ...]:
    """Half, as it is, twice and four times, as far as they fit the picture. Raises UsageError where one only does."""
    config = config_of(base)
    own, fitting = config.patch[0], sides_that_fit(config)
    others = {nearest([side for side in fitting if side != own], own * factor) for factor in (0.5, 2, 4)} - {None}
    if config.patch[0] != config.patch[1] or not others:
        height, wide = config.image_size
        raise UsageError(f"Pictures of {height}x{wide} pixels and patches of {config.patch[0]}x{config.patch[1]} leave "
                         "no second patch size, half or twice as large, that divides the picture. Choose another size: "
                         "--set preprocess.size=[64,64], or a model with square patches that divide it.")
    sides = sorted(side for side in {own, *others} if side is not None)
    return tuple(Variant(f"patch-{side}", f"{side}-pixel patches",
                         {} if side == own else patch_settings(base, side), group="patch") for side in sides)


def smaller_is_better(variants: tuple[Variant, ...]) -> tuple[Claim, ...]:
    return tuple(Claim(small.name, large.name, "better", "smaller patches are better, robustly (Figure 8)")
                 for small, large in pairwise(variants))


SHAPE = Ablation(
    "shape", "where do more layers, width, MLP width or smaller patches pay?", bases.patches, shapes,
    among((Claim("depth-twice", "base", "better", "more layers gain most (Figure 8)"),
           Claim("patch-half", "base", "better", "smaller patches gain robustly, without parameters (Figure 8)"),
           Claim("all-twice", "base", "better", "all together gains robustly (Figure 8)"),
           Claim("depth-twice", "width-twice", "better", "more layers gain most, more width least (Figure 8)"))),
    MEASURE, "5-shot accuracy on ImageNet, by figure only", left_out=impossible)

PATCH = Ablation(
    "patch", "what do smaller patches bring, and what do they cost?", bases.patches, patch_sizes, smaller_is_better,
    MEASURE, "5-shot accuracy on ImageNet, by figure only")
