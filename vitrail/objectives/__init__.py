"""What is being learned. An objective is the root module: views and targets in, losses out."""

from __future__ import annotations

from vitrail.objectives.classify import Classify, Loss
from vitrail.objectives.contract import Activation, Losses, Objective
from vitrail.objectives.dino import Dino, DinoSettings
from vitrail.objectives.distill import Distill, Distillation, Teacher
from vitrail.objectives.mae import MaeSettings, MaskedAutoencoder
from vitrail.objectives.masked_patch import MaskedPatch, MaskedPatchSettings

__all__ = ["Activation", "Classify", "Dino", "DinoSettings", "Distill", "Distillation", "Loss", "Losses", "MaeSettings",
           "MaskedAutoencoder", "MaskedPatch", "MaskedPatchSettings", "Objective", "Teacher"]
