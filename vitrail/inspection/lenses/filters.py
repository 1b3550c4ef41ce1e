"""The first layer as pictures."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Float

from vitrail.errors import NothingToSeeError
from vitrail.inspection.drawing import LEAD, picture, sheet
from vitrail.inspection.filters import PatchFilters, patch_filters, raw_filters
from vitrail.inspection.lens import Drawing, Lens, Look, Subject, rounded
from vitrail.models import ViT
from vitrail.models.hybrid import Hybrid

if TYPE_CHECKING:
    from matplotlib.figure import Figure

COLUMNS = 7
BY_COUNT = 5
"""Components by whose share two models are compared: few where learning has found structure, no more in noise."""

CAPTION = ("Each square is a pattern that the first layer compares the pixels with. Left: the main directions in "
           "which its filters differ (principal components), strongest first; a trained model has plain colors and "
           "brightness first, then edges and ripples of growing fineness, as in Figure 7 of the ViT paper. Right: the "
           "filters themselves, longest first. Grey is zero. Mere noise means that the layer has learned little, or "
           "from too few images; where all of these were grey, only the sum of the colors is learned, and the rest "
           "stays noise.")


def look(subject: Subject) -> Look:
    model = subject.bundle.model
    components, own = patch_filters(model), raw_filters(model)
    if not len(components.pictures):
        raise NothingToSeeError(f"{model.config.name}: all weights of the first layer are alike, so no filter differs "
                                "from another.")
    plain_vit = isinstance(model, ViT) and not isinstance(model, Hybrid)
    layer = "patch embedding" if plain_vit else "first convolution"
    left, right = tiled(components.pictures), tiled(own)

    def draw(figure: Figure) -> None:
        for axes, image, title in zip(figure.subplots(1, 2), (left, right), (
                "principal components, strongest first", "filters, longest first"), strict=True):
            picture(axes, image, title, interpolation="nearest")

    return Look(
        numbers={"layer": layer, "component_shares": rounded(components.shares, 5),
                 "components": rounded(components.pictures, 3), "filters": rounded(own, 3)},
        drawings=(Drawing("filters", draw, 9.6, 4.7 * left.shape[0] / left.shape[1] + 0.4,
                          f"filters of the {layer} as small pictures"),),
        caption=CAPTION, found=words(components, layer),
        measures={f"first {BY_COUNT} components hold, %": 100 * float(components.shares[:BY_COUNT].sum())})


def words(components: PatchFilters, layer: str) -> str:
    """How much of the layer is on the picture; that everything is says nothing about it."""
    count = len(components.pictures)
    first = f"{100 * components.shares[:BY_COUNT].sum():.0f} %"
    if components.shares.sum() > 1 - 1e-6:
        return (f"All {count} components of the {layer}'s filters are shown" +
                (f"; the first {BY_COUNT} hold {first} of the variance." if count > 2 * BY_COUNT
                 else "; so few that their shares say little."))
    return (f"The first {count} components hold {100 * components.shares.sum():.0f} % of the variance of the {layer}'s "
            f"filters, the first {BY_COUNT} alone {first}.")


def tiled(pictures: Float[np.ndarray, "filters height width_px channels"]) -> np.ndarray:
    """Every filter as a pane, all with lead between them."""
    shown = pictures if pictures.shape[-1] == 3 else pictures.mean(-1, keepdims=True).repeat(3, -1)
    enlarge = max(48 // max(shown.shape[1:3]), 1)
    tiles = [(one * 255).round().astype(np.uint8).repeat(enlarge, 0).repeat(enlarge, 1) for one in shown]
    return sheet(tiles, min(COLUMNS, len(tiles)), 4, LEAD)


LENS = Lens("filters", "What does the first layer react to?", look)
