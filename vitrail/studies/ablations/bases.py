"""The recipes that ablations change: those of `vitrail train` and `vitrail pretrain`, where the model has the part that
is asked about."""

from __future__ import annotations

from typing import Any

from vitrail.data.source import Source
from vitrail.errors import UsageError
from vitrail.models import Family, ViTConfig, describe
from vitrail.recipe import Recipe
from vitrail.recipes import RECIPES
from vitrail.studies.cell import model_name
from vitrail.studies.ladder import FAMILIES, costs_of
from vitrail.studies.recipes_of import read_model, recipe_for

FEW_SHOT = "few_shot_10"
ONCE = 1e9
"""Epochs between two probes that lie beyond any run: at the start and at the end only."""

RESNETS = ("R26x0.25", "R26x0.5", "R26x1", "R50x1")
WITHOUT: dict[Family, str] = {"bit": "a ResNet", "axial-resnet": "an AxialResNet", "hybrid": "a hybrid",
                              "axial-vit": "an axial ViT"}


def tokens(source: Source, model: str | None, changes: dict[str, Any]) -> Recipe:
    """Of a model with tokens and positions."""
    return refusing(recipe_for(source, model, None, changes), ("vit", "hybrid"), "tokens in a row")


def patches(source: Source, model: str | None, changes: dict[str, Any]) -> Recipe:
    """Of a plain ViT, whose every dimension can be scaled."""
    return refusing(recipe_for(source, model, None, changes), ("vit",), "patches of its own and one width everywhere")


def resnet(source: Source, model: str | None, changes: dict[str, Any]) -> Recipe:
    """Without a model, of a ResNet that suits the pictures. A ViT may be named, too."""
    return recipe_for(source, model or fitting_resnet(source), None, changes)


def fitting_resnet(source: Source) -> str:
    """The largest that costs at most half of the default model: convolutions take longer than as many multiply-adds in
    dense layers. Raises UsageError for pictures that are too small for any."""
    chosen = RECIPES["default"](source)
    size, macs = chosen.preprocess.size, describe(chosen.model.configure(2, chosen.preprocess.size)).macs
    costs = costs_of(RESNETS, 2, size)
    if not costs:
        raise UsageError(f"No ResNet fits pictures of {size[0]}x{size[1]} pixels. Name a model: --model NAME.")
    cheap = {name: cost for name, cost in costs.items() if cost <= macs / 2}
    return max(cheap, key=cheap.__getitem__) if cheap else min(costs, key=costs.__getitem__)


def without_labels(source: Source, model: str | None, changes: dict[str, Any]) -> Recipe:
    """Masked patch prediction, with the frozen features measured before and after on images that nothing learned from;
    no rate is chosen, so that no image is held out for that."""
    narrow, name = read_model(model)
    if narrow or name in FAMILIES:
        raise UsageError(f"{model}: half a width, and families, are for the studies with labels. Name a model: "
                         "--model Ti/4.")
    settings: dict[str, Any] = {"evaluation.probe_every": ONCE, "evaluation.probe_on": source.spec}
    if "test" in source.splits:
        settings["data.validation"] = 0.0
    recipe = RECIPES["pretrain"](source, model=name, objective="masked-patch").replaced(settings | changes)
    refused = refusing(recipe, ("vit", "axial-vit"), "patches that see nothing of one another")
    config = refused.model.configure(2, refused.preprocess.size)
    assert isinstance(config, ViTConfig)
    if config.patches < 2:
        raise UsageError(f"{model_name(refused)} sees a picture as a single patch: there are no others to guess it "
                         "from. Name one with smaller patches: --model NAME.")
    return refused


def refusing(recipe: Recipe, allowed: tuple[Family, ...], part: str) -> Recipe:
    """The recipe, where its model is of a family that has the part. Raises UsageError."""
    family = recipe.model.configure(2, recipe.preprocess.size).family
    if family not in allowed:
        raise UsageError(f"{model_name(recipe)} is {WITHOUT.get(family, family)}: this question needs a model with "
                         f"{part}. Give --model a ViT such as Ti/4 or S/16, or leave it out.")
    return recipe
