"""The cells of an ablation, in two stages: every variant at every rate with the first seed; then, at the rate that
validation chose for it, the other seeds. Test images choose nothing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from vitrail.data.source import Source
from vitrail.errors import UsageError
from vitrail.models import describe
from vitrail.recipe import Recipe
from vitrail.studies.ablations.ablation import Ablation, Claim, Variant
from vitrail.studies.asked import Options, options_of
from vitrail.studies.cell import Cell
from vitrail.studies.ledger import Row
from vitrail.studies.question import held_out
from vitrail.studies.recipes_of import refuse_few, refuse_seeds, refuse_unusable, split_as_asked

RATES, SEEDS = (1 / 3, 1.0, 3.0), 3

RATE = "optimizer.learning_rate"


@dataclass(frozen=True)
class Plan:
    """`factors`: rates to try, as multiples of the one that a variant's recipe has; `images`: how many are trained on,
    `tested`: how many are asked about."""

    ablation: Ablation
    source: Source
    base: Recipe
    images: int
    tested: int
    variants: tuple[Variant, ...]
    claims: tuple[Claim, ...]
    factors: tuple[float, ...]
    seeds: int
    options: Options = field(default_factory=dict)

    @property
    def measure(self) -> str:
        return self.ablation.measure.format(held_out=held_out(self.source))

    @property
    def total(self) -> int:
        """Runs that two variants share count for each of them."""
        own = sum(1 for one in self.running if one.rate_of is None)
        return own * (len(self.factors) - 1) + len(self.running) * self.seeds

    @property
    def running(self) -> tuple[Variant, ...]:
        return tuple(one for one in self.variants if one.runs_of is None)

    @cached_property
    def by_name(self) -> dict[str, Variant]:
        return {one.name: one for one in self.variants}

    @cached_property
    def recipes(self) -> dict[str, Recipe]:
        """Of each variant, before a rate is chosen. Raises UsageError for one that cannot be."""
        return {one.name: self.base.replaced(dict(one.settings)) for one in self.running}

    @cached_property
    def compute(self) -> dict[str, float]:
        """Of each variant, relative to the base: multiply-adds of one image."""
        def macs(recipe: Recipe) -> int:
            return describe(recipe.model.configure(len(self.source.classes), recipe.preprocess.size)).macs

        return {one.name: macs(self.recipes[one.runs_of or one.name]) / macs(self.base) for one in self.variants}

    def rates(self, variant: Variant) -> tuple[float, ...]:
        own = self.recipes[variant.name].optimizer.learning_rate
        return tuple(own if factor == 1 else float(f"{own * factor:.4g}") for factor in self.factors)

    def cell(self, variant: Variant, rate: float, seed: int) -> Cell:
        recipe = self.recipes[variant.name].replaced({RATE: rate, "seed": seed})
        labels = {"study": self.ablation.name, "variant": variant.name, "rate": rate, "seed": seed}
        return Cell(recipe, self.source.fingerprint, self.images, labels,
                    f"{variant.words}, learning rate {rate:g}, seed {seed}", may_diverge=True)

    @cached_property
    def grid(self) -> dict[str, dict[float, Cell]]:
        """The first stage: variant -> rate -> cell."""
        return {one.name: {rate: self.cell(one, rate, 0) for rate in self.rates(one)}
                for one in self.running if one.rate_of is None}

    def cells(self, rows: Mapping[str, Row]) -> list[Cell]:
        """The rates nearest to the recipe's own first; then seed by seed."""
        near = sorted(range(len(self.factors)), key=lambda place: max(self.factors[place], 1 / self.factors[place]))
        found = [list(grid.values())[place] for place in near for grid in self.grid.values()]
        for seed in range(self.seeds):
            for one in self.running:
                rate = self.chosen(one, rows)
                if rate is not None and self.settled(one, rows) and (seed > 0 or one.rate_of):
                    found.append(self.cell(one, rate, seed))
        return found

    def settled(self, variant: Variant, rows: Mapping[str, Row]) -> bool:
        """Whether there is nothing left to choose the rate by."""
        grid = self.grid[variant.rate_of or variant.name]
        return len(grid) == 1 or all(cell.key in rows for cell in grid.values())

    def chosen(self, variant: Variant, rows: Mapping[str, Row]) -> float | None:
        """The rate with the best validation of those that are finished, the lower one of equals; None without any."""
        grid = self.grid[variant.rate_of or variant.name]
        if len(grid) == 1:
            return next(iter(grid))
        seen = {rate: validated(rows[cell.key]) for rate, cell in grid.items() if cell.key in rows}
        return max(sorted(seen), key=seen.__getitem__) if seen else None


def validated(row: Row) -> float:
    """The best accuracy on the validation images; nothing is worse than a run that diverged."""
    history: Sequence[Sequence[float]] = row["result"].get("val", [])
    return max((value for _, value in history), default=-1.0)


def plan(ablation: Ablation, source: Source, *, model: str | None = None, factors: Sequence[float] = (),
         seeds: int = SEEDS, changes: dict[str, Any] | None = None) -> Plan:
    """`factors`: of the learning rate; without, three where the question is one of rates, else the recipe's own.
    `changes`: recipe settings for all runs.

    Raises DataError for a source without labels or with too few images, UsageError for what cannot be asked.
    """
    refuse_seeds(seeds)
    if RATE in (changes or {}) and ablation.name == "optimizer":
        raise UsageError(f"--set {RATE} would give Adam and SGD one rate. Say by --rates which multiples of their own "
                         "are tried.")
    chosen = refuse_rates(factors) or (RATES if ablation.tuned else (1.0,))
    source = split_as_asked(source, changes or {})
    refuse_unusable(source)
    refuse_few(source, "to tell variants of a model apart")
    base = ablation.base(source, model, changes or {})
    opened = base.data.open() if base.data != type(base.data)(source=source.spec) else source
    if len(chosen) > 1 and ("val" not in opened.splits or not base.objective.labeled):
        raise UsageError(f"Learning rates are chosen by validation, and vitrail study {ablation.name} has none here: "
                         "--rates 1 takes the recipe's own.")
    variants = ablation.variants(base)
    options = options_of(changes or {}, rates=(" ".join(f"{factor:.3g}" for factor in factors) or None, None),
                         seeds=(seeds, SEEDS))
    asked = opened.splits["test" if "test" in opened.splits else "val"]
    found = Plan(ablation, opened, base, len(opened.splits["train"]), len(asked), variants, ablation.claims(variants),
                 chosen, seeds, options)
    _ = found.recipes, [cell.samples for cell in found.cells({})]  # what cannot be is said before anything is trained
    return found


def refuse_rates(factors: Sequence[float]) -> tuple[float, ...]:
    """Each once, the lowest first. Raises UsageError for what no rate can be."""
    for factor in factors:
        if not 0 < factor < float("inf"):
            raise UsageError(f"--rates {factor:g} is no multiple of a learning rate: it must be above 0 (0.3 1 3 tries "
                             "a third, the recipe's own and three times as much).")
    return tuple(sorted(set(factors)))
