"""Which images a Bundle was trained on: they are split as they were then wherever they are used again."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from vitrail.bundle import Bundle


def own_data(bundle: Bundle, spec: str) -> dict[str, Any] | None:
    """The arguments with which its training run opened `spec`; None where that was other data."""
    trained = bundle.provenance.get("recipe", {}).get("data", {})
    own = trained.get("source")
    if own is None or (spec != own and Path(spec).resolve() != Path(own).resolve()):
        return None
    return {"seed": trained["split_seed"], "validation": trained["validation"],
            "skip_bad_shards": trained.get("skip_bad_shards", False)}
