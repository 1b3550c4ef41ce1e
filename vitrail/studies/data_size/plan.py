"""The cells of a study that trains models on nested parts of a source (paper, section 4.3).

    sizes_of(images, classes) -> 6,750, 13,500, ..., 54,000      halves, each within the next
    plan(source, models, ...) -> Plan                             its cells, the most informative first

Sizes are the same for all models, parts of one seed lie within one another, and what is held out is the same for all.
Three seeds at the two smallest and the two largest sizes show how much chance there is, and where. The largest sizes
come first, since they say most of what lies beyond them.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from fractions import Fraction
from itertools import product
from typing import Any, Literal, get_args

import numpy as np

from vitrail.data.source import Source
from vitrail.errors import DataError, UnknownNameError, UsageError
from vitrail.recipe import Recipe
from vitrail.studies.asked import Options, options_of
from vitrail.studies.cell import Cell, model_name
from vitrail.studies.fit.posterior import LEAST_POINTS
from vitrail.studies.recipes_of import (
    LEAST_IMAGES,
    drawn,
    held_words,
    recipe_for,
    refuse_seeds,
    refuse_unusable,
    split_as_asked,
)
from vitrail.training.schedule import Schedule

Rule = Literal["recipe", "epochs", "steps"]

RULES: dict[Rule, str] = {
    "recipe": "each size as long as the default recipe trains so many images",
    "epochs": "the same epochs at every size, so that more images are more steps",
    "steps": "the same steps at every size, so that fewer images are seen more often",
}
LEAST_SIZES, MOST_SIZES = 5, 7
SEEDS, ENDS = 3, 2
"""Seeds at so many sizes on either end."""

LOOKS = 20
"""At most so many validations of a run: few images have many epochs."""


@dataclass(frozen=True)
class Plan:
    """`cells` in the order in which they are worth training; `sizes`: images of each part; `length`: how long each
    trains, in words; `share`: of what the rule gives; `by_hand`: the length was set instead of chosen by the rule."""

    source: Source
    models: tuple[str, ...]
    sizes: tuple[int, ...]
    rule: Rule
    cells: tuple[Cell, ...]
    length: str
    share: Fraction = Fraction(1)
    options: Options = field(default_factory=dict)
    by_hand: bool = False

    @property
    def first_look(self) -> list[Cell]:
        """Every size once."""
        return [cell for cell in self.cells if cell.recipe.seed == 0]

    @property
    def kept(self) -> str:
        best = self.cells[0].recipe.evaluation.keep == "best"
        return "of the best checkpoint by validation" if best else "at the end of training"

    def shortened(self, share: Fraction) -> Plan:
        """The same with all runs for so much of their length."""
        return self if share == 1 else replace(
            self, cells=tuple(shortened(cell, share) for cell in self.cells), share=share,
            options=dict(self.options) | {"--length": str(share)},
            length=f"{self.length}; all of them {share} {'times' if share > 1 else 'of'} that")


def sizes_of(images: int, classes: int, count: int | None = None, held: str = "") -> tuple[int, ...]:
    """Halves of `images`, the smallest first: seven, or as many as leave a few images to each class. `held`: what of
    the images is not among them, in words.

    Raises DataError where there are too few images for five sizes, UsageError for another count that is impossible.
    """
    smallest = LEAST_IMAGES * classes
    possible = 1 + max(0, math.floor(math.log2(images / smallest))) if images >= smallest else 0
    if possible < LEAST_SIZES:
        raise DataError(f"{images:,} training images of {classes} classes are too few to ask how much more data would "
                        f"bring: {LEAST_SIZES} sizes, each half of the next and {LEAST_IMAGES} images a class at "
                        f"least, need {smallest * 2 ** (LEAST_SIZES - 1):,}{held}.")
    if count is not None and not 3 <= count <= possible:
        raise UsageError(f"--sizes {count} is not possible here: 3 to {possible}, each half of the next.")
    chosen = count or min(possible, MOST_SIZES)
    return tuple(round(images / 2**power) for power in reversed(range(chosen)))


def plan(source: Source, models: Sequence[str | None], *, rule: str = "recipe", count: int | None = None,
         seeds: int = SEEDS, weights: str | None = None, changes: dict[str, Any] | None = None,
         upto: int | None = None) -> Plan:
    """`models`: names, `vit`, `resnet` and `hybrid` for ones of like cost, `half:NAME` for half as wide a one, `half`
    and None for those of what the recipe chooses. `weights`: trained ones that every cell starts from. `changes`:
    recipe settings for all cells; those of the schedule take the place of the rule. `upto`: the largest part; all else
    is as without it.

    Raises DataError for a source without labels or with too few images, UsageError for what cannot be asked.
    """
    if rule not in get_args(Rule):
        raise UnknownNameError("rule", rule, get_args(Rule))
    refuse_seeds(seeds)
    changes = changes or {}
    refuse_fractions(changes)
    source = split_as_asked(source, changes)
    refuse_unusable(source)
    sizes = sizes_of(len(source.splits["train"]), len(source.classes), count, held_words(source))
    asked: Rule = rule  # type: ignore[assignment]  # one of them, as was just seen
    given = [f"{name} {value}" for name, value in changes.items() if name.startswith("schedule.")]
    wholes = {model: recipe_for(source, model, weights, changes) for model in models}
    cells: list[Cell] = []
    for (model, whole), (place, size) in product(wholes.items(), enumerate(sizes)):
        schedule = whole.schedule if given else schedule_of(source, whole, size, asked, model, weights)
        times = seeds if place < ENDS or place >= len(sizes) - ENDS else 1
        cells += [cell_of(source, whole, size, seed, asked, schedule) for seed in range(times)]
    told = up_to(upto, [drawn(source, size / sizes[-1]) for size in sizes])
    cells = sorted((cell for cell in cells if cell.images <= told[-1]),
                   key=lambda cell: (cell.recipe.seed, -cell.images))
    length = f"every size as --set says: {', '.join(given)}" if given else RULES[asked]
    names = tuple(dict.fromkeys(model_name(whole) for whole in wholes.values()))
    options = options_of(changes, weights=(weights, None), rule=(asked, "recipe"), upto=(upto, None),
                         sizes=(count, None), seeds=(seeds, SEEDS))
    return Plan(source, names, told, asked, tuple(cells), length, options=options, by_hand=bool(given))


def refuse_fractions(changes: dict[str, Any]) -> None:
    given = [name for name in changes if name.startswith("data.fraction")]
    if given:
        raise UsageError(f"--set {given[0]}: which parts of the images are trained on is what this study varies. Say "
                         "by --sizes how many there are.")


def up_to(largest: int | None, sizes: Sequence[int]) -> tuple[int, ...]:
    """Those that are no larger. Raises UsageError where too few are left."""
    chosen = tuple(size for size in sizes if largest is None or size <= largest)
    if len(chosen) < LEAST_POINTS:
        raise UsageError(f"--upto {largest:,} leaves {len(chosen)} of the sizes "
                         f"{', '.join(f'{size:,}' for size in sizes)}; {LEAST_POINTS} at least say how it goes on.")
    return chosen


def schedule_of(source: Source, whole: Recipe, size: int, rule: Rule, model: str | None,
                weights: str | None) -> Schedule:
    """Of a part of that size, by the rule."""
    images = len(source.splits["train"])
    steps = whole.schedule.total_steps(images, whole.training.batch_size)
    if rule == "steps":
        return whole.schedule.model_copy(update={"steps": steps, "epochs": None})
    if rule == "epochs" or size == images:
        return whole.schedule
    return recipe_for(part_of(source, size), model, weights, {}).schedule


def cell_of(source: Source, whole: Recipe, size: int, seed: int, rule: Rule, schedule: Schedule) -> Cell:
    """Model, pictures and rates are those for all images."""
    images = len(source.splits["train"])
    settings: dict[str, Any] = {"seed": seed, "schedule": schedule.model_dump()}
    if size < images:
        settings |= {"data.fraction": size / images, "data.fraction_seed": seed,
                     "training.batch_size": min(whole.training.batch_size, size),
                     "optimizer.learning_rate": whole.optimizer.learning_rate}
    recipe = whole.replaced(settings)
    count, name = drawn(source, recipe.data.fraction), model_name(whole)
    recipe = recipe.replaced({"evaluation.every_epochs": looks_every(recipe, count)})
    return Cell(recipe, source.fingerprint, count, {"study": "data", "model": name, "images": count, "seed": seed,
                                                    "rule": rule}, f"{name} on {count:,} images, seed {seed}")


def looks_every(recipe: Recipe, images: int) -> float:
    """Epochs between two validations."""
    steps = recipe.schedule.total_steps(images, recipe.training.batch_size) or 0
    return max(recipe.evaluation.every_epochs, steps * recipe.training.batch_size / images / LOOKS)


def shortened(cell: Cell, share: Fraction) -> Cell:
    """For so much of its length, with as many validations at most."""
    schedule, every = cell.recipe.schedule, cell.recipe.evaluation.every_epochs
    length = ({"schedule.epochs": float(share) * schedule.epochs} if schedule.epochs is not None else
              {"schedule.steps": max(1, round(share * (schedule.steps or 1)))})
    return replace(cell, recipe=cell.recipe.replaced(
        {**length, "evaluation.every_epochs": max(1.0, float(share) * every)}))


def part_of(source: Source, size: int) -> Source:
    """So many images from all over train, for a recipe to look at: only how many there are, and what they are like,
    decides its length."""
    train = source.splits["train"]
    places = np.linspace(0, len(train) - 1, size).round().astype(int)
    return replace(source, splits=source.splits | {"train": train.subset(places)})
