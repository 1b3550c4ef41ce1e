"""Patch features as colors, layer by layer."""

from __future__ import annotations

import numpy as np
from PIL import Image

from vitrail.inspection.drawing import pixels
from vitrail.inspection.feature_colors import feature_colors
from vitrail.inspection.lens import Lens, Look, Subject, rounded
from vitrail.inspection.lenses.attention import enlarged, rows_drawing
from vitrail.vocabulary import Size

CAPTION = ("Patches with like features have like colors, in all images of a column: the three strongest directions of "
           "the features are shown as red, green and blue. In early layers color follows brightness and place; later, "
           "the same parts of different things share a color where the model has understood that they are the same. "
           "Colors of different layers have nothing to do with each other.")


def look(subject: Subject) -> Look:
    colors = feature_colors(subject.bundle, subject.few, batch_size=subject.batch_size)
    images = [enlarged(image) for image in pixels(subject.few)]
    rows = [[image, *(panes(layer[number], (image.shape[0], image.shape[1])) for layer in colors.pictures)]
            for number, image in enumerate(images)]
    first, last = (f"{100 * share:.0f} % {where}" for share, where in zip(
        colors.shares.sum(1)[[0, -1]], (f"after {colors.layers[0]}", f"after {colors.layers[-1]}"), strict=True))
    held = f"{first} of the features' variance" + (f", {last}" if len(colors.layers) > 1 else "")
    return Look(
        numbers={"images": list(subject.names[: len(images)]), "layers": list(colors.layers),
                 "variance_shown": rounded(colors.shares.sum(1), 4),
                 "colors": [rounded(layer, 3) for layer in colors.pictures]},
        drawings=(rows_drawing("features", rows, ["image", *colors.layers], subject.names,
                               "features of the patches as colors"),),
        caption=CAPTION, found=f"Three directions hold {held}.")


def panes(colors: np.ndarray, size: Size) -> np.ndarray:
    """Each patch a pane of one color, all together as large as the image."""
    small = Image.fromarray((colors * 255).round().astype(np.uint8))
    return np.asarray(small.resize((size[1], size[0]), Image.Resampling.NEAREST))


LENS = Lens("features", "What does it take for alike?", look)
