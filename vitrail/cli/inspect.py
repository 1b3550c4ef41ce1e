"""vitrail inspect BUNDLE [IMAGES...]"""

from __future__ import annotations

import contextlib
import itertools
import json as writing
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from vitrail.cli.numbers import Count
from vitrail.errors import UnknownNameError, UsageError

if TYPE_CHECKING:
    from vitrail.bundle import Bundle
    from vitrail.cli.console import RunView
    from vitrail.cli.subjects import Pictures
    from vitrail.inspection.lens import Lens, Look, Subject
    from vitrail.training.guard import Interrupts

MOST_NAMED = 20
"""Classes in an error."""

SLOW = 20
"""Passes for each image from which on a lens is announced before it begins."""

LEFT_OUT = "Left out: it was stopped before it was done."


def inspect(
    bundle: str, /, *images: str,
    lens: Annotated[tuple[str, ...], Parameter(consume_multiple=True, negative=())] = (),
    out: Annotated[Path | None, Parameter(alias="-o")] = None,
    count: Count = 128,
    shown: Count = 6,
    place: Annotated[tuple[int, int] | None, Parameter(negative=())] = None,
    target: str | None = None,
    image_size: str | None = None,
    batch_size: Count = 8,
    json: Annotated[bool, Parameter(negative=())] = False,
) -> int:
    """Look at what a model sees: filters, positions, attention, features, explanations, signs of trouble.

        vitrail inspect runs/first

        vitrail inspect dinov2.safetensors cat.jpg dog.jpg --lens attention rollout features

        vitrail inspect runs/first runs/second --out side-by-side

    Parameters
    ----------
    bundle
        A run folder, a Bundle, a checkpoint of a run, or published weights in any format that vitrail reads.
    images
        Pictures, folders of them, or a source as `vitrail train` takes it; a second model first, to see both side by
        side. Without: the held-out images of the model's own run, else two photographs that come with vitrail.
    lens
        Which questions to ask; all without. filters, place, attention-distance, attention, rollout, features,
        attribution, occlusion, health.
    out
        A folder for inspect.html, inspect.json and every figure as SVG and PNG; inspection, or inspection-2 and so on
        where there is one, without. An earlier inspection in a folder that is named is replaced.
    count
        Images that are measured, at most.
    shown
        Images that are drawn, of those.
    place
        Row and column of the patch, counted from 0, whose attention is shown; the class token's (or the mean) without.
    target
        The class to explain, by name or index; what the model answers without.
    image_size
        Look at another image size than the model's own: 384 or 224x448.
    batch_size
        Images at a time.
    json
        Print all numbers on stdout, too.
    """
    from vitrail.cli.console import RunView, show_box
    from vitrail.cli.loading import refuse_unwritable
    from vitrail.cli.run_options import parse_size
    from vitrail.cli.subjects import as_seen, choose_pictures, load_model
    from vitrail.inspection.attention_maps import check_place
    from vitrail.inspection.lens import Subject
    from vitrail.inspection.looking import chosen
    from vitrail.report.inspected import FIGURES, NUMBERS, PAGE, Inspected, Inspection
    from vitrail.training.guard import Interrupts

    lenses = chosen(lens)
    refuse_ignored(lenses, place, target)
    out = free_folder() if out is None else out
    refuse_unwritable(out, NUMBERS)
    size = None if image_size is None else parse_size(image_size)
    words, pictures_of = divided(bundle, images)
    models = [load_model(word, size) for word in words]
    pictures = choose_pictures(models[0], pictures_of, count)
    view = RunView()
    show_box(view.console, "what I understood", understood(words, pictures, lenses))
    subjects = []
    for word, model in zip(words, models, strict=True):
        with told_of(word, len(words) > 1):
            subjects.append(Subject(model, *as_seen(model, pictures), shown, place,
                                    None if target is None else index_of(model, target), batch_size))
            check_place(model.model, subjects[-1].raw, place)
    inspection = Inspection(out, [Inspected(word, subject.bundle, subject.names) for word, subject in
                                  zip(words, subjects, strict=True)], pictures.words, [one.name for one in lenses])
    with Interrupts("what was seen so far is being kept").listen() as interrupts:
        if words_of_it := inspection.begin():
            view.say(f"note: {words_of_it}")
        for one in lenses:
            inspection.add(one.name, [look_through(view, f"{word}, " * (len(words) - 1), subject, one, interrupts)
                                      for word, subject in zip(words, subjects, strict=True)])
    if json:
        print(writing.dumps({"models": inspection.numbers}))
    figures = f"{inspection.figures} figure{'s' * (inspection.figures != 1)}"
    view.say(f"written: {out / PAGE}, {NUMBERS} and {figures}, as SVG and PNG, in {out / FIGURES}")
    sys.stdout.flush()
    if interrupts:
        raise KeyboardInterrupt(interrupts.signal)
    return 0


def free_folder() -> Path:
    """inspection, or the first of inspection-2, inspection-3, ... that is not there yet."""
    names = itertools.chain(["inspection"], (f"inspection-{number}" for number in itertools.count(2)))
    return next(Path(name) for name in names if not Path(name).exists())


def divided(first: str, others: Sequence[str]) -> tuple[list[str], Sequence[str]]:
    """Which words are models, one or two, and which pictures. Raises UsageError for a model among pictures."""
    from vitrail.cli.subjects import is_model

    models = [first, *(word for word in others[:1] if is_model(word))]
    pictures = others[len(models) - 1:]
    if extra := next((word for word in pictures if is_model(word)), None):
        raise UsageError(f"{extra} is a model: give the model to look at first, a second one directly after it, and "
                         "then images. Two are compared at most.")
    return models, pictures


@contextlib.contextmanager
def told_of(word: str, several: bool) -> Iterator[None]:
    """An error of one of two models says of which."""
    try:
        yield
    except UsageError as error:
        if not several:
            raise
        raise UsageError(f"{word}: {error}") from None


def refuse_ignored(lenses: list[Lens], place: tuple[int, int] | None, target: str | None) -> None:
    """Raises UsageError for an option that no chosen lens heeds."""
    heeded = {"--place": (place, ["attention"]), "--target": (target, ["attribution", "occlusion"])}
    for option, (given, heeding) in heeded.items():
        if given is not None and not any(lens.name in heeding for lens in lenses):
            raise UsageError(f"{option} is for the lens {' and the lens '.join(heeding)}, which you did not ask for. "
                             f"Leave it out, or add --lens {heeding[0]}.")


def understood(models: list[str], pictures: Pictures, lenses: list[Lens]) -> list[tuple[str, str]]:
    number = len(pictures.names)
    return [("model" if len(models) == 1 else "models", " beside ".join(models)),
            ("images", f"{number:,}: {pictures.words}"),
            ("questions", ", ".join(one.name for one in lenses))]


def look_through(view: RunView, title: str, subject: Subject, lens: Lens, interrupts: Interrupts) -> Look | str:
    """What a lens sees, said as soon as it is known. A signal leaves out the lens it comes into and all others."""
    from vitrail.inspection.looking import seen

    said = f"{title}{lens.name}"
    passes = lens.passes(subject)
    if passes >= SLOW * len(subject.raw) and not interrupts:
        view.say(f"{said}: about {passes:,} changed copies of the images go through the model. Ctrl-C leaves it out "
                 "and keeps the rest.")
    view.spoken = time.monotonic()
    try:
        look = seen(subject, lens, lambda: bool(interrupts), lambda done: view.passing(said, done))
    except KeyboardInterrupt:
        if not interrupts or interrupts.given_up:
            raise
        look = LEFT_OUT
    view.say(f"{said}: {look if isinstance(look, str) else look.found or lens.title}")
    return look


def index_of(bundle: Bundle, target: str) -> int:
    """The class that was named, by its name or its number. Raises UsageError."""
    classes = bundle.model.config.classes
    if not classes:
        raise UsageError("The model has no classes: it gives features, not answers. Leave out --target.")
    if bundle.classes and target in bundle.classes:
        return bundle.classes.index(target)
    if target.isdigit() and int(target) < classes:
        return int(target)
    numbers = f"numbers from 0 to {classes - 1}"
    if not bundle.classes:
        raise UsageError(f"There is no class {target}: they have {numbers}, and no names.")
    if not target.isdigit() and len(bundle.classes) <= MOST_NAMED:
        raise UnknownNameError("class", target, bundle.classes)
    first = ", ".join(bundle.classes[:MOST_NAMED]) + ", ..." * (len(bundle.classes) > MOST_NAMED)
    raise UsageError(f"There is no class {target}: they have {numbers} and the names {first}. All names: vitrail "
                     "describe MODEL --json (class_names)")
