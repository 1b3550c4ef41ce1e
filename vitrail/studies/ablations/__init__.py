"""What do head, positions, optimizer, shape and patches change? One thing is exchanged, at several seeds (paper, 4.4 of
the text and appendices B.1.2 and D)."""

from vitrail.studies.ablations.ablation import Ablation
from vitrail.studies.ablations.masked import MASKED_PATCH
from vitrail.studies.ablations.parts import HEAD, OPTIMIZER, POSITIONS
from vitrail.studies.ablations.shapes import PATCH, SHAPE
from vitrail.studies.ablations.study import AblationStudy

ABLATIONS: dict[str, Ablation] = {one.name: one for one in (HEAD, POSITIONS, OPTIMIZER, SHAPE, PATCH, MASKED_PATCH)}

__all__ = ["ABLATIONS", "Ablation", "AblationStudy"]
