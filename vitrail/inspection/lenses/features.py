"""Patch features as colors, layer by layer."""

from __future__ import annotations

import numpy as np
from PIL import Image

from vitrail.inspection.drawing import pixels
from vitrail.inspection.feature_colors import FeatureColors, feature_colors
from vitrail.inspection.lens import Lens, Look, Subject, rounded
from vitrail.inspection.lenses.attention import enlarged, rows_drawing
from vitrail.vocabulary import Size

ENOUGH = 40
"""Patches of all images together from which on it says something that three directions hold much of them: so many
vectors that have nothing in common would leave them less than a tenth or so."""

CAPTION = ("Patches with like features have like colors, in all images of a column: the three strongest directions of "
           "the features are shown as red, green and blue. In early layers color follows brightness and place; later, "
           "the same parts of different things share a color where the model has understood that they are the same. "
           "Colors of different layers have nothing to do with each other.")


def look(subject: Subject) -> Look:
    colors = feature_colors(subject.bundle, subject.few, batch_size=subject.batch_size)
    images = [enlarged(image) for image in pixels(subject.few)]
    rows = [[image, *(panes(layer[number], (image.shape[0], image.shape[1])) for layer in colors.pictures)]
            for number, image in enumerate(images)]
    return Look(
        numbers={"images": list(subject.names[: len(images)]), "layers": list(colors.layers),
                 "variance_shown": rounded(colors.shares.sum(1), 4),
                 "colors": [rounded(layer, 3) for layer in colors.pictures]},
        drawings=(rows_drawing("features", rows, ["image", *colors.layers], subject.names,
                               "features of the patches as colors"),),
        caption=CAPTION, found=words(colors), measures=measures(colors))


def words(colors: FeatureColors) -> str:
    """How much of the first layer and of the last the colors show, where that says anything."""
    held, few = [], []
    for layer in dict.fromkeys((0, len(colors.layers) - 1)):
        patches, name = patches_of(colors, layer), colors.layers[layer]
        if patches < ENOUGH:
            few.append(f"After {name}, {patches} patches in all are too few to tell: three directions hold most of "
                       "any.")
        else:
            held.append(f"{100 * colors.shares[layer].sum():.0f} % after {name}")
    return " ".join([*([f"Three directions hold {' and '.join(held)} of the features' variance."] if held else []),
                     *few])


def measures(colors: FeatureColors) -> dict[str, float]:
    return {f"three directions hold after the {which} layer, %": 100 * float(colors.shares[layer].sum())
            for which, layer in (("first", 0), ("last", -1)) if patches_of(colors, layer) >= ENOUGH}


def patches_of(colors: FeatureColors, layer: int) -> int:
    """Of all images together."""
    images, rows, columns, _ = colors.pictures[layer].shape
    return images * rows * columns


def panes(colors: np.ndarray, size: Size) -> np.ndarray:
    """Each patch a pane of one color, all together as large as the image."""
    small = Image.fromarray((colors * 255).round().astype(np.uint8))
    return np.asarray(small.resize((size[1], size[0]), Image.Resampling.NEAREST))


LENS = Lens("features", "What does it take for alike?", look)
