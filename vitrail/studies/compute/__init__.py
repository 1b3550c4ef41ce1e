"""How much compute does it take, and of which family of models? Frontiers of ViT, ResNet and hybrid (paper, 4.4)."""

from vitrail.studies.compute.study import Compute

__all__ = ["Compute"]
