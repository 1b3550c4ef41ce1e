"""The cells of a study of compute: sizes of several families, each trained for several lengths on all images (paper,
section 4.4).

    plan(source, models, lengths) -> Plan          its cells, the cheapest first, spread over the axis

Each length is a whole run, since the learning rate falls to its end. Further seeds of the cheapest and the middle
setting of each family show how much is chance; they come last.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any

from vitrail.data.source import Source
from vitrail.errors import UsageError
from vitrail.models import describe
from vitrail.recipe import Recipe
from vitrail.studies.asked import Options, options_of
from vitrail.studies.cell import Cell, model_name
from vitrail.studies.ladder import Rung, ladder
from vitrail.studies.recipes_of import (
    drawn,
    read_length,
    recipe_for,
    refuse_few,
    refuse_seeds,
    refuse_unusable,
    split_as_asked,
)

LENGTHS = ("1/4", "1/2", "1")
SEEDS = 3
APART = 1.5
"""Times the compute of one setting from which on another of its family is looked at before those between."""


@dataclass(frozen=True)
class Setting:
    """A model trained for a length. `length`: a share of what the default recipe takes; `samples`: images it sees;
    `exaflops`: what it costs, by 6 x multiply-adds x images."""

    family: str
    model: str
    length: Fraction
    epochs: float
    samples: int
    exaflops: float


@dataclass(frozen=True)
class Plan:
    """`settings` by family, the cheapest of each first, with their `cells`, one for each seed; `asked`: names that the
    user gave."""

    source: Source
    asked: tuple[str, ...]
    lengths: tuple[Fraction, ...]
    settings: dict[Setting, tuple[Cell, ...]]
    options: Options = field(default_factory=dict)

    @property
    def cells(self) -> tuple[Cell, ...]:
        """In the order in which they are worth training."""
        first = {setting for family in self.families for setting in apart(self.of(family))}
        ordered = sorted(((setting, cell) for setting, cells in self.settings.items() for cell in cells),
                         key=lambda pair: (pair[1].recipe.seed > 0, pair[0] not in first, pair[0].exaflops,
                                           pair[1].recipe.seed))
        return tuple(cell for _, cell in ordered)

    def of(self, family: str) -> list[Setting]:
        return [setting for setting in self.settings if setting.family == family]

    @property
    def families(self) -> list[str]:
        return list(dict.fromkeys(setting.family for setting in self.settings))


def plan(source: Source, models: Sequence[str] = (), *, lengths: Sequence[str] = LENGTHS, seeds: int = SEEDS,
         changes: dict[str, Any] | None = None) -> Plan:
    """`models`: names (`half:NAME` for half as wide a one); without, three sizes of three families that suit the
    source. `lengths`: shares of the default recipe's epochs, as "1/4" or "0.25". `changes`: recipe settings for all.

    Raises DataError for a source without labels or with too few images, UsageError for what cannot be asked.
    """
    refuse_seeds(seeds)
    changes, shares = changes or {}, tuple(sorted({read_length(text, "--lengths") for text in lengths}))
    refuse_lengths(changes)
    source = split_as_asked(source, changes)
    refuse_unusable(source)
    refuse_few(source, "to compare models on")
    rungs = [Rung(name, {}) for name in models] or [rung for rungs in ladder(source).values() for rung in rungs]
    recipes = {}
    for rung in rungs:
        recipe = recipe_for(source, rung.model, None, rung.settings | changes)
        recipes[model_name(recipe)] = recipe
    found = [setting_of(source, name, recipe, share) for name, recipe in recipes.items() for share in shares]
    places = {family: place for place, family in enumerate(dict.fromkeys(setting.family for setting in found))}
    found.sort(key=lambda setting: (places[setting.family], setting.exaflops))
    return Plan(source, tuple(models), shares, {
        setting: cells_of(source, setting, recipes[setting.model], seeds if several(setting, found) else 1)
        for setting in found}, options_of(changes, lengths=(words(shares), words(map(Fraction, LENGTHS))),
                                         seeds=(seeds, SEEDS)))


def words(lengths: Iterable[Fraction]) -> str:
    return " ".join(map(str, lengths))


def refuse_lengths(changes: dict[str, Any]) -> None:
    """--set may not say how long runs are: --lengths does."""
    given = [name for name in ("epochs", "steps", "seconds") if f"schedule.{name}" in changes]
    if given:
        raise UsageError(f"--set schedule.{given[0]} would make all lengths of this study the same. Leave it out: "
                         "--lengths gives them as shares of the default recipe's epochs (0.01 for a hundredth), and "
                         "--time is for the whole study.")


def setting_of(source: Source, name: str, recipe: Recipe, share: Fraction) -> Setting:
    config = recipe.model.configure(len(source.classes), recipe.preprocess.size)
    assert recipe.schedule.epochs is not None  # of the default recipe, as was just seen
    epochs = float(share) * recipe.schedule.epochs
    steps = recipe.replaced({"schedule.epochs": epochs}).schedule.total_steps(
        drawn(source, recipe.data.fraction), recipe.training.batch_size)
    assert steps is not None
    samples = steps * recipe.training.batch_size
    return Setting(config.family, name, share, epochs, samples, describe(config).training_exaflops(samples))


def several(setting: Setting, settings: Sequence[Setting]) -> bool:
    """Whether it is the cheapest of its family, or the one in the middle."""
    own = [one for one in settings if one.family == setting.family]
    return own.index(setting) in (0, len(own) // 2)


def apart(settings: Sequence[Setting]) -> list[Setting]:
    """Of settings by rising cost those that lie so far apart that each tells something new."""
    found: list[Setting] = []
    for setting in settings:
        if not found or setting.exaflops >= APART * found[-1].exaflops:
            found.append(setting)
    return found


def cells_of(source: Source, setting: Setting, recipe: Recipe, seeds: int) -> tuple[Cell, ...]:
    every = recipe.evaluation.every_epochs
    length = {"schedule.epochs": setting.epochs,
              "evaluation.every_epochs": min(every, max(1.0, float(setting.length) * every))}
    labels = {"study": "compute", "family": setting.family, "model": setting.model, "length": str(setting.length)}
    return tuple(Cell(recipe.replaced(length | {"seed": seed}), source.fingerprint,
                      drawn(source, recipe.data.fraction), labels | {"seed": seed},
                      f"{setting.model} for {setting.epochs:.3g} epochs, seed {seed}") for seed in range(seeds))
