"""What the lenses say of one model, or of two side by side: one page, each figure as SVG and PNG, all numbers as JSON.

    OUT/inspect.html
       /inspect.json
       /figures/NAME.svg, NAME.png      of a second model NAME-2.svg, NAME-2.png
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, NamedTuple

from markupsafe import Markup

from vitrail.bundle import Bundle
from vitrail.files import write_bytes, write_text
from vitrail.inspection.drawing import drawn, on_equal_axes
from vitrail.inspection.lens import Drawing, Look
from vitrail.inspection.lenses import LENSES
from vitrail.report.figures import inline
from vitrail.report.page import environment, model_facts

PAGE, NUMBERS, FIGURES = "inspect.html", "inspect.json", "figures"


@dataclass(frozen=True)
class Inspected:
    """One model. `title`: as it was named; `images`: those that were looked at; `looks`: by lens, what it saw, or why
    there is nothing to see."""

    title: str
    bundle: Bundle
    images: tuple[str, ...]
    looks: Mapping[str, Look | str]
    notes: Sequence[str] = field(default_factory=tuple)


class Shown(NamedTuple):
    """One figure of the page: the picture itself, where it is wide (it stands alone in its row), and its files."""

    picture: Markup
    wide: bool
    files: str


class Column(NamedTuple):
    """What one lens says of one model. `caption`: how to read it, where the other model's is to be read otherwise."""

    title: str
    found: str
    figures: list[Shown]
    caption: str = ""


class Section(NamedTuple):
    name: str
    title: str
    caption: str
    columns: list[Column]


def write_inspection(out: Path, models: Sequence[Inspected]) -> list[Path]:
    """Write everything; returns what was written, the page first. Raises SaveError."""
    written, models = [], comparable(models)
    write_text(out / NUMBERS, json.dumps({"models": [numbers_of(model) for model in models]}) + "\n")
    for suffix, model in zip(("", "-2"), models, strict=False):
        for drawing in drawings_of(model):
            for kind in ("svg", "png"):
                path = out / FIGURES / f"{drawing.name}{suffix}.{kind}"
                write_bytes(path, drawn(drawing, kind))
                written.append(path)
    write_text(out / PAGE, render(models))
    return [out / PAGE, out / NUMBERS, *written]


def comparable(models: Sequence[Inspected]) -> Sequence[Inspected]:
    """The same models, with the axes of each figure alike."""
    if len(models) < 2:
        return models
    by_name: dict[str, list[Drawing]] = {}
    for model in models:
        for drawing in drawings_of(model):
            by_name.setdefault(drawing.name, []).append(drawing)
    alike = {name: iter(on_equal_axes(same)) for name, same in by_name.items()}
    return [replace(model, looks={
        name: look if isinstance(look, str) else look._replace(
            drawings=tuple(next(alike[drawing.name]) for drawing in look.drawings))
        for name, look in model.looks.items()}) for model in models]


def drawings_of(model: Inspected) -> Iterator[Drawing]:
    for look in model.looks.values():
        if isinstance(look, Look):
            yield from look.drawings


def numbers_of(model: Inspected) -> dict[str, Any]:
    lenses = {}
    for name, look in model.looks.items():
        told: dict[str, Any] = {"question": LENSES[name].title}
        told |= {"nothing": look} if isinstance(look, str) else {
            "found": look.found, "caption": look.caption, "numbers": look.numbers}
        lenses[name] = told
    config = model.bundle.model.config
    return {"model": model.title, "name": config.name, "family": config.family,
            "image_size": list(model.bundle.preprocess.size), "images": list(model.images),
            "notes": list(model.notes), "lenses": lenses}


def render(models: Sequence[Inspected]) -> str:
    """The page as text."""
    names = list(dict.fromkeys(name for model in models for name in model.looks))
    return environment().get_template("inspect.html").render(
        models=models, facts=[model_facts(model.bundle) for model in models],
        sections=[section(name, models) for name in names])


def section(name: str, models: Sequence[Inspected]) -> Section:
    """One lens, a column for each model. Captions that differ stand in their columns."""
    looks = [model.looks.get(name, "Not asked for.") for model in models]
    captions = list(dict.fromkeys(look.caption for look in looks if isinstance(look, Look)))
    columns = []
    for suffix, model, look in zip(("", "-2"), models, looks, strict=False):
        if isinstance(look, str):
            columns.append(Column(model.title, look, []))
            continue
        columns.append(Column(model.title, look.found, [shown(drawing, suffix) for drawing in look.drawings],
                              look.caption if len(captions) > 1 else ""))
    return Section(name, LENSES[name].title, captions[0] if len(captions) == 1 else "", columns)


def shown(drawing: Drawing, suffix: str) -> Shown:
    return Shown(inline(drawing), drawing.width > 7, f"{FIGURES}/{drawing.name}{suffix}")
