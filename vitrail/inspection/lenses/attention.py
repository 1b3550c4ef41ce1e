"""Attention of every layer, and of every head of the last one, over the images."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Float

from vitrail.inspection.attention_maps import AttentionMaps, attention_maps
from vitrail.inspection.drawing import framed, is_flat, light, lit, picture_rows, pixels
from vitrail.inspection.layers import evenly
from vitrail.inspection.lens import Drawing, Lens, Look, Subject, counted_images, rounded

if TYPE_CHECKING:
    from matplotlib.figure import Figure

MOST_LAYERS, MOST_HEADS, FEWEST = 7, 8, 6
"""Columns of pictures, at most; where there are fewer than FEWEST, they grow no larger."""

CAPTION = ("Light falls where {asked} looks; grey is dark. Each picture has a scale of its own, from its least to its "
           "most attended patch; where they differ by less than twice, the light is weaker, and none where all are "
           "attended alike. First figure: heads averaged. Second: each head by itself, for "
           "the first image. A few bright patches in plain background are no mistake of the drawing: large models "
           "keep notes there (see the lens health).")


def look(subject: Subject) -> Look:
    """One image at a time, so that many large ones need no more memory than one."""
    parts = [attention_maps(subject.bundle, raw[None], subject.place) for raw in subject.few]
    maps = np.concatenate([part.heads for part in parts], 1)
    last = [float(part.heads[-1].mean(1).max() / max(part.heads[-1].mean(1).sum(), 1e-9)) for part in parts]
    asked = parts[0].asked_by
    pooling = [part.pooling for part in parts if part.pooling is not None]
    return Look(
        numbers={"asked_by": asked, "images": list(subject.names[: len(parts)]),
                 "layers_heads_averaged": rounded(maps.mean(2), 5),
                 "layers_heads": rounded(maps, 5),
                 **({"pooling": rounded(np.concatenate(pooling), 5)} if pooling else {})},
        drawings=(by_layer(subject, parts), by_head(subject, parts[0])),
        caption=CAPTION.format(asked=asked + (" (framed)" if subject.place else "")),
        measures={"last layer, attention of the brightest patch, %": 100 * float(np.mean(last))},
        found=f"Over {counted_images(len(parts))}, in the last layer the brightest patch has {100 * np.mean(last):.0f} "
              f"% of the attention to patches, an even share would be {100 / maps[0, 0, 0].size:.1f} %.")


Rows = Sequence[Sequence[np.ndarray | None]]
"""Pictures in rows; None leaves a place free."""


def by_layer(subject: Subject, parts: Sequence[AttentionMaps]) -> Drawing:
    depth = len(parts[0].heads)
    layers = evenly(depth, MOST_LAYERS)
    columns = ["image", *(f"layer {layer + 1}" for layer in layers)] + ["pooling"] * (parts[0].pooling is not None)
    rows = []
    for image, part in zip(pixels(subject.few), parts, strict=True):
        pooling = [] if part.pooling is None else [in_light_of(image, part.pooling[0])]
        rows.append([enlarged(image), *(seen_by(subject, image, part.layers[layer, 0]) for layer in layers), *pooling])
    return rows_drawing("attention", rows, columns, subject.names, "where each layer looks, for some images")


def by_head(subject: Subject, part: AttentionMaps) -> Drawing:
    maps: Float[np.ndarray, "depth heads rows columns"] = part.heads[:, 0]
    chosen, layers = evenly(maps.shape[1], MOST_HEADS), evenly(len(maps), MOST_LAYERS)
    image = pixels(subject.raw[:1])[0]
    rows = [[seen_by(subject, image, maps[layer, head]) for head in chosen] for layer in layers]
    return rows_drawing("attention-heads", rows, [f"head {head + 1}" for head in chosen],
                        [f"layer {layer + 1}" for layer in layers],
                        "where each head looks, layer by layer, for the first image")


def seen_by(subject: Subject, image: np.ndarray, shares: Float[np.ndarray, "rows columns"]) -> np.ndarray:
    """The image in the light of one map; where one patch's attention was asked for, that is framed."""
    shown = in_light_of(image, shares)
    return shown if subject.place is None else framed(shown, subject.place, (shares.shape[0], shares.shape[1]))


def in_light_of(image: np.ndarray, shares: Float[np.ndarray, "rows columns"]) -> np.ndarray:
    return lit(enlarged(image), light(shares))


def rows_drawing(name: str, rows: Rows, columns: Sequence[str], names: Sequence[str], words: str) -> Drawing:
    """Pictures in rows, all as wide as they can be on a page."""
    height, width = next(one for one in rows[0] if one is not None).shape[:2]
    side = 9.6 / max(len(columns), FEWEST)

    def draw(figure: Figure) -> None:
        picture_rows(figure, rows, columns, names)

    beneath = 0.18 * len(rows) if names and is_flat(height, width) else 0.0
    return Drawing(name, draw, side * len(columns) + 0.3, side * height / width * len(rows) + 0.35 + beneath, words)


def enlarged(image: np.ndarray, least: int = 112) -> np.ndarray:
    """A small picture made larger pixel by pixel, so that light on it is smooth."""
    times = max(least // max(image.shape[:2]), 1)
    return image.repeat(times, 0).repeat(times, 1)


LENS = Lens("attention", "Where does it look, layer by layer?", look)
