"""Every explanation of the same answers, as maps on the same panes."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from vitrail.errors import NothingToSeeError
from vitrail.inspection.attention_maps import attention_maps
from vitrail.inspection.explained import Explained
from vitrail.inspection.integrated_gradients import IntegratedGradients, integrated_gradients
from vitrail.inspection.lens import in_batches
from vitrail.inspection.occlusion import occlusion
from vitrail.inspection.panes import Panes, panes_of
from vitrail.inspection.relevance import relevance
from vitrail.inspection.rollout import rollout

RELEVANCE, GRADIENTS, OCCLUSION = "relevance", "integrated gradients", "occlusion"
ROLLOUT, ATTENTION = "rollout", "last attention"

SIGNED = (GRADIENTS, OCCLUSION)
"""Below 0 is what speaks against the answer."""


@dataclass(frozen=True)
class Explanations:
    """`maps` [images, rows, columns] by the name of the explanation, on `panes`; larger is more important. `left_out`:
    why this model has no others. `gradients`: pixel by pixel."""

    panes: Panes
    maps: dict[str, Float[np.ndarray, "images rows columns"]]
    left_out: dict[str, str]
    gradients: IntegratedGradients


def explanations(asked: Explained, batch_size: int = 8) -> Explanations:
    """All that there are for this model: those by attention only where patches attend to one another."""
    panes = panes_of(asked.bundle.model, asked.raw)
    gradients = integrated_gradients(asked, batch_size=batch_size)
    covers = occlusion(asked, batch_size=batch_size)
    by_cover = {GRADIENTS: gradients.over_panes, OCCLUSION: covers.panes.spread_over(panes, covers.falls)}
    try:
        by_attention = {
            RELEVANCE: relevance(asked, batch_size), **by_cover,
            ROLLOUT: rollout(asked.bundle, asked.raw, batch_size),
            ATTENTION: last_attention(asked, batch_size)}
    except NothingToSeeError as error:
        return Explanations(panes, by_cover, dict.fromkeys((RELEVANCE, ROLLOUT, ATTENTION), str(error)), gradients)
    return Explanations(panes, by_attention, {}, gradients)


def last_attention(asked: Explained, batch_size: int) -> Float[np.ndarray, "images rows columns"]:
    """What gathers the answer last: the pooling query where there is one, else the last layer, heads averaged."""
    found = []
    for part in in_batches(asked.raw, batch_size):
        maps = attention_maps(asked.bundle, part)
        found.append(maps.layers[-1] if maps.pooling is None else maps.pooling)
    return np.concatenate(found)
