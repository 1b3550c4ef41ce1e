"""What a model looks at: numbers taken from a Bundle without changing it. Pictures of them are drawn in `report`."""

from __future__ import annotations

from vitrail.inspection.attention_distance import AttentionDistance, attention_distance
from vitrail.inspection.attention_maps import AttentionMaps, attention_maps
from vitrail.inspection.filters import PatchFilters, patch_filters
from vitrail.inspection.lens import NO_ATTENTION
from vitrail.inspection.place import PositionSimilarity, position_similarity
from vitrail.inspection.rollout import rollout
from vitrail.inspection.trace import Recorded, record

__all__ = ["NO_ATTENTION", "AttentionDistance", "AttentionMaps", "PatchFilters", "PositionSimilarity", "Recorded",
           "attention_distance", "attention_maps", "patch_filters", "position_similarity", "record", "rollout"]
