"""What differed between runs, and what came out: `compare(paths)` -> Comparison, which is also the JSON."""

from __future__ import annotations

from vitrail.comparison.reading import RunFacts, Score
from vitrail.comparison.side_by_side import Comparison, compare

__all__ = ["Comparison", "RunFacts", "Score", "compare"]
