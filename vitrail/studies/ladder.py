"""Three sizes of each of three families that cost about alike, for a source: what a study of compute trains unless it
is told, and of which a family by its name alone (`vit`, `resnet`, `hybrid`) is the largest.

The largest ViT is what the default recipe chooses; the others are narrower and less deep. The hybrids are the same
transformers behind the root of a ResNet, as in R+Ti/16 of 2106.10270. The ResNets are R26 (2106.10270), as wide as
comes nearest to the cost of a ViT.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any, NamedTuple

from vitrail.data.source import Source
from vitrail.errors import UsageError
from vitrail.models import ViTConfig, configure, describe
from vitrail.recipes import RECIPES
from vitrail.vocabulary import Size

SHRUNK = ((1 / 4, 1 / 2), (1 / 2, 2 / 3), (1.0, 1.0))
"""Width and depth as shares of the default recipe's: about 1/32, 1/6 and all of its multiply-adds."""

RESNETS = tuple(f"R26x{width:g}" for width in (0.125, 0.25, 0.5, 1.0, 2.0, 4.0))
ROOT_STRIDE = 4
LEAST_STEM = 0.125
"""Of the published width: eight channels, which is one group of a group norm."""


class Rung(NamedTuple):
    """A model as `recipe_for` takes it: a name, None for the default recipe's choice, and settings of the recipe."""

    model: str | None
    settings: dict[str, Any]


FAMILIES = ("vit", "resnet", "hybrid")


def ladder(source: Source) -> dict[str, list[Rung]]:
    """Of each of FAMILIES its sizes, the cheapest first. ResNets that cannot be so narrow on so small images are left
    out."""
    recipe = RECIPES["default"](source)
    classes, size = len(source.classes), recipe.preprocess.size
    whole = recipe.model.configure(classes, size)
    assert type(whole) is ViTConfig
    shapes = [shrunk(whole, wide, deep) for wide, deep in SHRUNK]
    costs = [describe(configure(recipe.model.name, classes=classes, image_size=size,
                                **recipe.model.settings | shape)).macs for shape in shapes]
    vits = [Rung(None, {} if shape == shapes[-1] else settings(shape)) for shape in shapes]
    hybrids = [Rung(hybrid_name(whole), settings(shape | {"stem_width": max(wide, LEAST_STEM)}))
               for shape, (wide, _) in zip(shapes, SHRUNK, strict=True)]
    return dict(zip(FAMILIES, (vits, [Rung(name, {}) for name in resnets(costs, classes, size)], hybrids), strict=True))


def largest(source: Source, family: str) -> Rung:
    """Of one of FAMILIES, which costs about as much as those of the others. Raises UsageError where there is none."""
    rungs = ladder(source)[family]
    if not rungs:
        raise UsageError(f"No {family} fits images of so few pixels as those of {source.spec}. Leave it out.")
    return rungs[-1]


def shrunk(whole: ViTConfig, wide: float, deep: float) -> dict[str, Any]:
    """Shares of the width, the MLP and the depth; the heads stay as wide as they are, as far as they can."""
    width = max(4, round(whole.width * wide / 4) * 4)
    heads = max(1, width // (whole.width // whole.heads))
    return {"width": width, "depth": max(1, round(whole.depth * deep)), "mlp": max(4, round(whole.mlp * wide)),
            "heads": heads if width % heads == 0 else 1, "feedforward": whole.feedforward}


def settings(shape: dict[str, Any]) -> dict[str, Any]:
    return {f"model.settings.{name}": value for name, value in shape.items()}


def hybrid_name(whole: ViTConfig) -> str:
    """Patches of the root's map, which is four times smaller than the image, so that a token stands for as many pixels
    as in the ViT; the published names count the first of the root's two halvings only."""
    patch = max(ROOT_STRIDE, -(-max(whole.patch) // ROOT_STRIDE) * ROOT_STRIDE)
    return f"R+{whole.name.split('/')[0]}/{patch // 2}"


def resnets(costs: list[int], classes: int, size: Size) -> list[str]:
    """Those that come nearest to each of the costs; one that is nearest to several counts once."""
    possible = costs_of(RESNETS, classes, size)
    nearest = [min(possible, key=lambda name: abs(math.log(possible[name] / cost))) for cost in costs if possible]
    return list(dict.fromkeys(nearest))


def costs_of(names: Iterable[str], classes: int, size: Size) -> dict[str, int]:
    """Multiply-adds of one image by each model that there can be for images of that size."""
    found = {}
    for name in names:
        try:
            found[name] = describe(configure(name, classes=classes, image_size=size)).macs
        except UsageError:  # too narrow for images so small
            continue
    return found
