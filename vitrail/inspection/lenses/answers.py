"""Images in rows, each beside pictures of what its answer comes from."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Float, UInt8

from vitrail.inspection.drawing import QUIET, light, lit, picture, plain, shortened
from vitrail.inspection.explained import Explained
from vitrail.inspection.lens import Drawing, Subject
from vitrail.models import describe

if TYPE_CHECKING:
    from matplotlib.figure import Figure

WORK = {"cpu": 1e13}
"""Multiplications that one lens may take: some minutes of one core, a hundred times as many on a GPU."""

ACROSS = 6
"""Pictures in a row; images stand side by side as long as all their pictures fit."""

Noted = tuple[np.ndarray, str]
"""A picture and a few words beneath it."""


def affordable(subject: Subject, passes: int, most: int) -> int:
    """How many of the images can be explained in some minutes, at `passes` through the model each: two at least."""
    cost = max(describe(subject.bundle.model.config).macs, 1) * passes
    count = int(WORK.get(subject.bundle.device.type, 1e15) / cost)
    return min(max(count, 2), most, len(subject.raw))


def fewer(subject: Subject, count: int, most: int) -> str:
    """Says so where not all images were explained."""
    wanted = min(most, len(subject.raw))
    if count == wanted:
        return ""
    device = subject.bundle.device.type.upper()
    return f" Only {count} of {wanted} images were explained: all would take this model long on a {device}."


def apart(*values: float, most: int = 5, error: float | None = None) -> list[str]:
    """Numbers with as many digits after the point, two at least, as tell them apart, and as their `error` deserves; the
    same where `most` digits do not tell them apart."""
    least = 2 if error is None or error <= 0 else min(max(2, math.ceil(-math.log10(error))), most)
    shown = {digits: [f"{value:.{digits}f}" for value in values] for digits in range(least, most + 1)}
    different = len(set(shown[most]))
    return next(texts for texts in shown.values() if len(set(texts)) == different)


def answers(name: str, images: Sequence[Sequence[Noted]], columns: Sequence[str], names: Sequence[str],
            asked: Explained, scores: Float[np.ndarray, " images"], words: str) -> Drawing:
    """`images`: the pictures of each, the image itself first, under the words of `columns`. Beside it stands what was
    answered, under it its name."""
    abreast = min(max(ACROSS // len(columns), 1), len(images))
    lines = -(-len(images) // abreast)
    height, width = images[0][0][0].shape[:2]
    side = 9.6 / max(abreast * len(columns), 4)

    def draw(figure: Figure) -> None:
        grid = figure.subplots(lines, abreast * len(columns), squeeze=False).reshape(lines * abreast, len(columns))
        for axes in grid[len(images):].flat:
            axes.axis("off")
        for number, (places, shown) in enumerate(zip(grid, images, strict=False)):
            for axes, (image, note), title in zip(places, shown, columns, strict=True):
                picture(axes, image, title if number < abreast else "")
                axes.set_xlabel(note, fontsize=6.5, color=QUIET)
            answer = plain(shortened(asked.names[number], 22))
            places[0].set_ylabel(f"{answer}\n{asked.unit} {scores[number]:.2f}", fontsize=7)
            places[0].set_xlabel(plain(shortened(names[number])), fontsize=6.5, color=QUIET)

    return Drawing(name, draw, side * abreast * len(columns) + 0.4, (side * height / width + 0.2) * lines + 0.3, words)


def in_light(image: UInt8[np.ndarray, "height width_px 3"], map: Float[np.ndarray, "rows columns"],
             signed: bool, top: float | None = None) -> UInt8[np.ndarray, "height width_px 3"]:
    """From the least to the most important; of a map with a sign, from 0 up to its largest value, or to `top`."""
    if not signed:
        return lit(image, light(map))
    top = float(map.max()) if top is None else top
    return lit(image, (map / top).clip(0, 1) if top > 1e-9 else np.zeros_like(map))
