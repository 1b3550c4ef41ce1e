"""Attention through all layers, over the images, as the paper's Figure 6."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Float

from vitrail.inspection.drawing import QUIET, light, lit, picture_rows, pixels, plain, shortened
from vitrail.inspection.lens import Drawing, Lens, Look, Subject, counted_images, rounded
from vitrail.inspection.lenses.attention import enlarged, rows_drawing
from vitrail.inspection.rollout import rollout

if TYPE_CHECKING:
    from matplotlib.figure import Figure

PER_ROW = 3
CAPTION = ("Which patches the answer comes from, when attention is followed through all layers: heads averaged, the "
           "shortcuts counted as attention to oneself, layers multiplied (attention rollout; Figure 6 of the ViT "
           "paper). Light falls on the image from its least to its most important patch; a single patch, "
           "which the first layers look at, can leave all others in the dark. Rollout follows attention "
           "alone, not what is done with it: the lens attribution tells which class a patch speaks for.")


def look(subject: Subject) -> Look:
    maps = rollout(subject.bundle, subject.few, subject.batch_size)
    return Look(
        numbers={"images": list(subject.names[: len(maps)]), "rollout": rounded(maps, 6)},
        drawings=(beside(subject, maps),), caption=CAPTION, found=words(maps),
        measures={"the tenth of the patches that counts most has, %": 100 * top_tenth(maps)})


def beside(subject: Subject, maps: Float[np.ndarray, "images rows columns"]) -> Drawing:
    """Each image, its name under it, and its rollout; several such pairs in a row."""
    pairs = [(enlarged(image), lit(enlarged(image), light(one)))
             for image, one in zip(pixels(subject.few), maps, strict=True)]
    columns = min(PER_ROW, len(pairs))
    shown: list[np.ndarray | None] = [picture for pair in pairs for picture in pair]
    shown += [None] * (-len(shown) % (2 * columns))
    rows = [shown[start : start + 2 * columns] for start in range(0, len(shown), 2 * columns)]

    def draw(figure: Figure) -> None:
        grid = picture_rows(figure, rows, ["image", "rollout"] * columns)
        for axes, name in zip(grid[:, ::2].flat, subject.names, strict=False):
            axes.set_xlabel(plain(shortened(name)), fontsize=6.5, color=QUIET)

    drawing = rows_drawing("rollout", rows, ["image", "rollout"] * columns, (), "images beside their rollouts")
    return drawing._replace(draw=draw, height=drawing.height + 0.15 * len(rows))


def words(maps: Float[np.ndarray, "images rows columns"]) -> str:
    patches = maps[0].size
    count = tenth(patches)
    alone = float((maps.max((1, 2)) / maps.sum((1, 2)).clip(min=1e-12)).mean())
    return (f"Over {counted_images(len(maps))}, the {count} of {patches} patches that count most "
            f"{'has' if count == 1 else 'have'} {100 * top_tenth(maps):.0f} % of the rollout, the first alone "
            f"{100 * alone:.0f} %; {100 * count / patches:.0f} and {100 / patches:.2g} % would be even.")


def tenth(patches: int) -> int:
    return max(round(0.1 * patches), 1)


def top_tenth(maps: Float[np.ndarray, "images rows columns"]) -> float:
    ordered = np.sort(maps.reshape(len(maps), -1), axis=1)[:, ::-1]
    count = tenth(ordered.shape[1])
    return float((ordered[:, :count].sum(1) / ordered.sum(1).clip(min=1e-12)).mean())


LENS = Lens("rollout", "Which patches does the answer come from?", look)
