"""How much data does it need? Models on nested parts of a source, and curves through their errors (paper, 4.3)."""

from vitrail.studies.data_size.study import DataSize

__all__ = ["DataSize"]
