"""Position embeddings, a grid of grids; and how well places can be read off the patches."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Float

from vitrail.errors import NothingToSeeError
from vitrail.inspection.drawing import LEAD, glass, picture, scale_beside, sheet, tidy, whole_numbers
from vitrail.inspection.layers import evenly
from vitrail.inspection.lens import Drawing, Lens, Look, Subject, rounded
from vitrail.inspection.place import (
    KINDS,
    LEAST_READ,
    PlacesRead,
    PositionSimilarity,
    places_read,
    position_similarity,
)
from vitrail.models import ViT

if TYPE_CHECKING:
    from matplotlib.figure import Figure

MOST = 14
"""Places along a side that have a tile of their own."""

SHADES = 48
"""Colors that are told apart: a picture of so many is a fifth as large as one of all."""

def look(subject: Subject) -> Look:
    model = subject.bundle.model
    similarity = position_similarity(model)
    parts = [grid_of_grids(similarity)] if similarity.tiles is not None else []
    found = [similarity.reason] if similarity.reason else []
    if isinstance(model, ViT):
        read = places_read(subject.bundle, subject.raw, subject.batch_size)
        if read is None:
            found.append(f"To read places off the features, {LEAST_READ} images are needed; {len(subject.raw)} given.")
        else:
            parts.append(reading(read))
    if not parts:
        raise NothingToSeeError(" ".join(found))
    numbers: dict[str, Any] = {"reason": similarity.reason}
    for part in parts:
        numbers |= part.numbers
    return Look(numbers, tuple(drawing for part in parts for drawing in part.drawings),
                " ".join(part.caption for part in parts), " ".join([*found, *(part.found for part in parts)]).strip(),
                {words: value for part in parts for words, value in part.measures.items()})


def grid_of_grids(similarity: PositionSimilarity) -> Look:
    assert similarity.tiles is not None
    down, across = tiled(similarity.tiles)
    return Look(
        numbers={"kind": similarity.kind, "places": {"rows": down, "columns": across},
                 "similarity": rounded(similarity.tiles[np.ix_(down, across)], 4)},
        drawings=(tiles(similarity.tiles),),
        caption=f"Each tile belongs to the patch at its place and shows {KINDS[similarity.kind]}: bright is alike. A "
                "bright spot at the tile's own place means that the model knows its grid; learned positions often have "
                "a bright row and column through it, too. Rows and columns are counted from 0, as --place does."
                + some_tiles(similarity.tiles, down, across))


def some_tiles(tiles: np.ndarray, down: list[int], across: list[int]) -> str:
    """Says so where not every place has a tile."""
    rows, columns = tiles.shape[:2]
    if (len(down), len(across)) == (rows, columns):
        return ""
    return (f" Of the {rows} by {columns} places only {len(down)} by {len(across)}, spread evenly, have a tile; each "
            f"tile shows all of them.")


def reading(read: PlacesRead) -> Look:
    return Look(
        numbers={"read_off": {"layers": list(read.layers), "rows": rounded(read.rows, 4),
                              "columns": rounded(read.columns, 4)}},
        drawings=(curve(read),),
        caption="The curve: how well a linear model tells a patch's row and column from its features, on images that "
                "it was not fitted to. 1 is exactly, 0 no better than always saying the middle; worse than that is "
                "drawn as 0.",
        found=f"Rows and columns can be read off linearly {shares(read, 0)} before the first block, "
              f"{shares(read, -1)} after the last (learned from {(read.images + 1) // 2} images, measured on "
              f"{read.images // 2}; more may read more).",
        measures={f"{side} read off {where}, %": 100 * max(float(scores[layer]), 0.0)
                  for side, scores in (("row", read.rows), ("column", read.columns))
                  for where, layer in (("before the first block", 0), ("after the last", -1))})


def shares(read: PlacesRead, layer: int) -> str:
    row, column = share(read.rows[layer]), share(read.columns[layer])
    if row == column:
        return "not at all" if row == "nothing" else f"to {row} each"
    return f"to {row} and {column}"


def share(score: float) -> str:
    return f"{100 * score:.0f} %" if score > 0 else "nothing"


def tiled(shown: np.ndarray) -> tuple[list[int], list[int]]:
    """Rows and columns of the places that have a tile: every one, or of a large grid evenly many."""
    down, across = (evenly(side, MOST) for side in shown.shape[:2])
    return down, across


def tiles(shown: Float[np.ndarray, "rows columns rows columns"]) -> Drawing:
    down, across = tiled(shown)
    low, high = float(shown.min()), max(float(shown.max()), float(shown.min()) + 1e-6)
    enlarge = max(56 // max(shown.shape[:2]), 1)
    steps = ((shown - low) / (high - low) * SHADES).round() / SHADES
    maps = [glass(steps[row, column]).repeat(enlarge, 0).repeat(enlarge, 1)
            for row in down for column in across]
    gap = max(2, maps[0].shape[0] // 14)
    image = sheet(maps, len(across), gap, LEAD)
    height, width = maps[0].shape[0] + gap, maps[0].shape[1] + gap

    def draw(figure: Figure) -> None:
        axes = figure.subplots()
        picture(axes, image, interpolation="nearest")
        axes.set_xticks((np.arange(len(across)) + 0.5) * width, [str(column) for column in across], fontsize=7)
        axes.set_yticks((np.arange(len(down)) + 0.5) * height, [str(row) for row in down], fontsize=7)
        axes.tick_params(length=0)
        axes.set_xlabel("column of the patch")
        axes.set_ylabel("row of the patch")
        scale_beside(figure, axes, low, high, "alike")

    return Drawing("place", draw, 6.4, max(5.0 * image.shape[0] / image.shape[1] + 0.4, 2.0),
                   "one small map for each place of the grid of patches")


def curve(read: PlacesRead) -> Drawing:
    def draw(figure: Figure) -> None:
        axes = figure.subplots()
        depth = np.arange(len(read.layers))
        for scores, color, marker, dash, label in ((read.rows, "#2553a3", "o", "-", "row"),
                                                   (read.columns, "#c9821b", "s", "--", "column")):
            axes.plot(depth, scores.clip(min=0), color=color, marker=marker, markersize=4, linestyle=dash, label=label)
        axes.set_ylim(-0.03, 1.03)
        whole_numbers(axes)
        axes.legend(frameon=False)
        tidy(axes, "block (0: what enters the first one)", "share of the place explained")

    return Drawing("place-read-off", draw, 4.8, 3.2, "how well row and column can be read off, by block")


LENS = Lens("place", "Does it know what lies beside what?", look)
