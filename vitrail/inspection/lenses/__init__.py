"""Every lens there is, in the order in which one looks through them, the slow ones last."""

from __future__ import annotations

from vitrail.inspection.lens import Lens
from vitrail.inspection.lenses import (
    attention,
    attention_distance,
    attribution,
    features,
    filters,
    health,
    occlusion,
    place,
    rollout,
)

LENSES: dict[str, Lens] = {one.LENS.name: one.LENS for one in (
    filters, place, attention_distance, attention, rollout, features, health, attribution, occlusion)}
