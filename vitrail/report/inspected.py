"""What the lenses say of one model, or of two side by side: one page, each figure as SVG and PNG, all numbers as JSON.

    OUT/inspect.html
       /inspect.json
       /figures/NAME.svg, NAME.png      of a second model NAME-2.svg, NAME-2.png

All of it is written again after each lens: whatever comes later, what has been seen is there.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, NamedTuple

from markupsafe import Markup

from vitrail import __version__
from vitrail.bundle import Bundle
from vitrail.files import write_bytes, write_text
from vitrail.inspection.drawing import drawn, on_equal_axes
from vitrail.inspection.lens import Drawing, Look
from vitrail.inspection.lenses import LENSES
from vitrail.report.figures import inline
from vitrail.report.page import environment, model_facts

PAGE, NUMBERS, FIGURES = "inspect.html", "inspect.json", "figures"
KINDS: tuple[Literal["svg", "png"], ...] = ("svg", "png")
SUFFIXES = ("", "-2")
"""Of the files of the first model, and of the second."""

WIDE = 7.0
"""Inches above which a figure needs the whole width of the page."""


class Inspected(NamedTuple):
    """One model. `title`: as it was named; `images`: those that are looked at."""

    title: str
    bundle: Bundle
    images: tuple[str, ...]


class Shown(NamedTuple):
    """One figure of the page: the picture itself, its width in inches, and its files."""

    name: str
    picture: Markup
    width: float
    files: str

    @property
    def wide(self) -> bool:
        """It stands alone in its row."""
        return self.width > WIDE


class Column(NamedTuple):
    """What one lens says of one model. `caption`: how to read it, where the other model's is to be read otherwise."""

    title: str
    found: str
    figures: list[Shown]
    caption: str = ""


class Measured(NamedTuple):
    """One number of each model, as it is written."""

    words: str
    values: list[str]


class Section(NamedTuple):
    """One lens of all models. `measures`: what they have in common that is a number, of two models."""

    name: str
    title: str
    caption: str
    columns: list[Column]
    measures: list[Measured]

    @property
    def stacked(self) -> bool:
        """Figures of one model below those of the other, because beside them they would be too small."""
        return any(figure.wide for column in self.columns for figure in column.figures)

    @property
    def together(self) -> list[list[tuple[str, Shown]]]:
        """The same figure of each model, with the model's title, figure by figure."""
        same: dict[str, list[tuple[str, Shown]]] = {}
        for column in self.columns:
            for figure in column.figures:
                same.setdefault(figure.name, []).append((column.title, figure))
        return list(same.values())


@dataclass
class Inspection:
    """The folder `out` while models are looked at. `pictures`: where the images come from, in words. `lenses`: names of
    those that are to look."""

    out: Path
    models: Sequence[Inspected]
    pictures: str
    lenses: Sequence[str]
    sections: list[Section] = field(default_factory=list)
    numbers: list[dict[str, Any]] = field(init=False)

    def __post_init__(self) -> None:
        self.numbers = [about(model) | {"images_from": self.pictures} for model in self.models]

    @property
    def waiting(self) -> list[str]:
        """Lenses that are still to look."""
        return [name for name in self.lenses if name not in {section.name for section in self.sections}]

    @property
    def figures(self) -> int:
        return sum(len(column.figures) for section in self.sections for column in section.columns)

    def begin(self) -> str | None:
        """Take the place of an earlier inspection; returns what to say where there is one. Raises SaveError."""
        earlier = (self.out / NUMBERS).exists()
        for old in figures_in(self.out / NUMBERS):
            (self.out / FIGURES / old).unlink(missing_ok=True)
        self.write()
        return f"{self.out} held an earlier inspection; this one takes its place" if earlier else None

    def add(self, name: str, looks: Sequence[Look | str]) -> None:
        """What one lens sees in each model, or why there is nothing to see. Raises SaveError; what stood before
        stands then."""
        looks = on_one_scale(looks)
        for suffix, told, look in zip(SUFFIXES, self.numbers, looks, strict=False):
            files = []
            for drawing, kind in itertools.product(drawings_of(look), KINDS):
                files.append(f"{drawing.name}{suffix}.{kind}")
                write_bytes(self.out / FIGURES / files[-1], drawn(drawing, kind))
            told["lenses"][name] = numbers_of(name, look) | {"figures": files}
        self.sections.append(section(name, [model.title for model in self.models], looks))
        self.write()

    def write(self) -> None:
        write_text(self.out / NUMBERS, json.dumps({"models": self.numbers}) + "\n")
        write_text(self.out / PAGE, environment().get_template("inspect.html").render(
            models=self.models, facts=[model_facts(model.bundle) for model in self.models], sections=self.sections,
            waiting=self.waiting, pictures=self.pictures, version=__version__))


def figures_in(numbers: Path) -> list[str]:
    """Files that an earlier inspection says it made; none where its numbers cannot be read."""
    try:
        models = json.loads(numbers.read_text(encoding="utf-8"))["models"]
        names = [name for model in models for told in model["lenses"].values() for name in told.get("figures", [])]
    except (OSError, ValueError, LookupError, TypeError, AttributeError):
        return []
    return [name for name in names if isinstance(name, str) and Path(name).name == name]


def on_one_scale(looks: Sequence[Look | str]) -> list[Look | str]:
    """The same, with the axes of each figure alike in all of them."""
    if len(looks) < 2:
        return list(looks)
    by_name: dict[str, list[Drawing]] = {}
    for look in looks:
        for drawing in drawings_of(look):
            by_name.setdefault(drawing.name, []).append(drawing)
    alike = {name: iter(on_equal_axes(same)) for name, same in by_name.items()}
    return [look if isinstance(look, str) else look._replace(
        drawings=tuple(next(alike[drawing.name]) for drawing in look.drawings)) for look in looks]


def drawings_of(look: Look | str) -> tuple[Drawing, ...]:
    return () if isinstance(look, str) else look.drawings


def about(model: Inspected) -> dict[str, Any]:
    config = model.bundle.model.config
    return {"model": model.title, "name": config.name, "family": config.family,
            "image_size": list(model.bundle.preprocess.size), "images": list(model.images), "lenses": {}}


def numbers_of(name: str, look: Look | str) -> dict[str, Any]:
    told: dict[str, Any] = {"question": LENSES[name].title}
    if isinstance(look, str):
        return told | {"nothing": look}
    return told | {"found": look.found, "caption": look.caption, "measures": dict(look.measures),
                   "numbers": look.numbers}


def section(name: str, titles: Sequence[str], looks: Sequence[Look | str]) -> Section:
    """One lens, a column for each model. Captions that differ stand in their columns."""
    captions = list(dict.fromkeys(look.caption for look in looks if isinstance(look, Look)))
    columns = []
    for suffix, title, look in zip(SUFFIXES, titles, looks, strict=False):
        if isinstance(look, str):
            columns.append(Column(title, look, []))
            continue
        columns.append(Column(title, look.found, [shown(drawing, suffix) for drawing in look.drawings],
                              look.caption if len(captions) > 1 else ""))
    return Section(name, LENSES[name].title, captions[0] if len(captions) == 1 else "", columns, measured(looks))


def measured(looks: Sequence[Look | str]) -> list[Measured]:
    """What can be compared; "-" where a model has no such number. Nothing of a single model."""
    if len(looks) < 2:
        return []
    several = [{} if isinstance(look, str) else look.measures for look in looks]
    return [Measured(words, [written(measures.get(words)) for measures in several])
            for words in dict.fromkeys(words for measures in several for words in measures)]


def written(value: float | None) -> str:
    """Three digits, also where the last of them is a zero; what was counted as it is."""
    if value is None:
        return "-"
    return str(value) if isinstance(value, int) else f"{value:#.3g}".rstrip(".")


def shown(drawing: Drawing, suffix: str) -> Shown:
    return Shown(drawing.name, inline(drawing), drawing.width, f"{FIGURES}/{drawing.name}{suffix}")
