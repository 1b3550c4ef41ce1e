"""What a model looks at: numbers taken from a Bundle without changing it. Pictures of them are drawn in `report`."""

from __future__ import annotations

from vitrail.inspection.attention_maps import NO_ATTENTION, AttentionMaps, attention_maps
from vitrail.inspection.filters import PatchFilters, patch_filters
from vitrail.inspection.place import PositionSimilarity, position_similarity
from vitrail.inspection.trace import Recorded, record

__all__ = ["NO_ATTENTION", "AttentionMaps", "PatchFilters", "PositionSimilarity", "Recorded", "attention_maps",
           "patch_filters", "position_similarity", "record"]
