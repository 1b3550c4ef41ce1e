"""The paper's Figure 11: how far each head looks."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from vitrail.inspection.attention_distance import AttentionDistance, attention_distance
from vitrail.inspection.drawing import QUIET, by_depth, tidy
from vitrail.inspection.lens import Drawing, Lens, Look, Subject, counted_images, rounded

if TYPE_CHECKING:
    from matplotlib.figure import Figure

CAPTION = ("Each dot is a head, in each layer from the nearest to the farthest: the distance in pixels between a "
           "patch and what it attends to, weighted by attention, averaged over all patches and over {images}; the "
           "line through it reaches from the image at the 10th to the image at the 90th percentile. The dashed line "
           "is a head that attends to all patches alike. In a model that has learned from many images some heads of "
           "the first layers look far already and others stay near; with depth all look far (Figure 11 of the ViT "
           "paper). The class token and registers are left out.")


def look(subject: Subject) -> Look:
    far = attention_distance(subject.bundle, subject.raw, subject.batch_size)
    middle = far.pixels.mean(2)
    images, digits = far.pixels.shape[2], int(far.even[-1] < 50)
    width, near, most = max(5.0, 0.32 * len(far.layers) + 2), middle[0].min(), middle[0].max()
    return Look(
        numbers={"unit": "pixels", "images": images, "layers": list(far.layers), "mean": rounded(middle, 3),
                 "deviation_over_images": rounded(far.pixels.std(2), 3),
                 "percentile_10": rounded(np.percentile(far.pixels, 10, axis=2), 3),
                 "percentile_90": rounded(np.percentile(far.pixels, 90, axis=2), 3), "even": rounded(far.even, 3)},
        drawings=(Drawing("attention-distance", lambda figure: draw(figure, far), width, 3.6,
                          "mean attention distance of each head, by layer"),),
        caption=CAPTION.format(images=counted_images(images)),
        found=f"Heads of the {'first' if len(middle) > 1 else 'only'} layer look {near:.{digits}f} to "
              f"{most:.{digits}f} pixels far" + (
                  f", those of the last {middle[-1].min():.{digits}f} to {middle[-1].max():.{digits}f}"
                  if len(middle) > 1 else "") + f"; looking everywhere alike would be {far.even[-1]:.{digits}f}.",
        measures={f"{which} layer, {what}, pixels": float(value) for which, heads in
                  (("first", middle[0]), ("last", middle[-1])) for what, value in
                  (("mean of the heads", heads.mean()), ("nearest head", heads.min()), ("farthest head", heads.max()))})


def draw(figure: Figure, far: AttentionDistance) -> None:
    axes = figure.subplots()
    for layer, (heads, color) in enumerate(zip(far.pixels, by_depth(len(far.layers)), strict=True)):
        order = heads.mean(1).argsort()
        places = layer + (np.arange(len(order)) - (len(order) - 1) / 2) * 0.6 / max(len(order), 4)
        middle, (low, high) = heads.mean(1)[order], np.percentile(heads, [10, 90], axis=1)[:, order]
        axes.vlines(places, low, high, color=color, linewidth=1, alpha=0.6)
        axes.plot(places, middle, "o", color=color, markersize=3.5)
        axes.hlines(far.even[layer], layer - 0.45, layer + 0.45, color=QUIET, linestyle="--", linewidth=0.8)
    axes.set_ylim(0, None)
    crowded = len(far.layers) > 16
    axes.set_xticks(range(len(far.layers)), far.layers, rotation=90 if any("," in name for name in far.layers) else 0,
                    fontsize=7 if crowded else 8)
    tidy(axes, "layer", "mean attention distance, pixels")


LENS = Lens("attention-distance", "How far does it look?", look)
