"""Ablation: one part of a model or of its training is exchanged, and all else stays. What is compared, as a value."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from vitrail.data.source import Source
from vitrail.recipe import Recipe

Base = Callable[[Source, str | None, dict[str, Any]], Recipe]
"""base(source, model, changes) -> the recipe that all variants change. Raises UsageError for a model without the part
that is asked about."""


@dataclass(frozen=True)
class Variant:
    """`settings`: what it changes in the recipe; `paper`: what the paper has for it, in words.

    `rate_of`: it learns at the rate that was chosen for this other variant. `runs_of`: it has no runs of its own but is
    another number of theirs, `reads` in the row's result. `group`: a line of the figure, for what is scaled.
    """

    name: str
    words: str
    settings: Mapping[str, Any] = field(default_factory=dict)
    paper: str = ""
    rate_of: str | None = None
    runs_of: str | None = None
    reads: Literal["test", "floor"] = "test"
    group: str = ""


@dataclass(frozen=True)
class Claim:
    """What the paper says of two variants: `first` is better, or far better, or they are equal; `paper` in words."""

    first: str
    second: str
    kind: Literal["better", "far better", "equal"]
    paper: str


def nothing(base: Recipe) -> tuple[str, ...]:
    return ()


@dataclass(frozen=True)
class Ablation:
    """`question` in words; `variants` of a base recipe, the one to compare with first; `tuned`: each gets a grid of
    learning rates unless others are asked for. `measure`: what is measured here, `paper_measure` in the paper.

    `left_out`: what there cannot be here, in sentences.
    `explained`: two of the claims, by number; a gap in the first that is gone in the second is explained by the rate.
    """

    name: str
    question: str
    base: Base
    variants: Callable[[Recipe], tuple[Variant, ...]]
    claims: Callable[[tuple[Variant, ...]], tuple[Claim, ...]]
    measure: str
    paper_measure: str
    tuned: bool = False
    explained: tuple[int, int] | None = None
    left_out: Callable[[Recipe], tuple[str, ...]] = nothing


def among(claims: tuple[Claim, ...]) -> Callable[[tuple[Variant, ...]], tuple[Claim, ...]]:
    """Those of them whose variants there are here."""
    def possible(variants: tuple[Variant, ...]) -> tuple[Claim, ...]:
        names = {variant.name for variant in variants}
        return tuple(claim for claim in claims if {claim.first, claim.second} <= names)

    return possible
