"""What is being learned. An objective is the root module: views and targets in, losses out."""

from __future__ import annotations

from vitrail.objectives.classify import Classify, Loss
from vitrail.objectives.contract import Losses, Objective
from vitrail.objectives.distill import Distill, Distillation, Teacher

OBJECTIVES: dict[str, type[Classify]] = {"classify": Classify}

__all__ = ["OBJECTIVES", "Classify", "Distill", "Distillation", "Loss", "Losses", "Objective", "Teacher"]
