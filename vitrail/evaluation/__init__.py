"""How well a Bundle does: on a split with labels, and on the pictures a person hands over."""

from __future__ import annotations

from vitrail.evaluation.accuracy import ClassResult, Evaluation, Unread, counted, evaluate
from vitrail.evaluation.align import align
from vitrail.evaluation.answers import answer, joined
from vitrail.evaluation.inputs import Failure, expand
from vitrail.evaluation.predictions import Prediction, predict_files

__all__ = ["ClassResult", "Evaluation", "Failure", "Prediction", "Unread", "align", "answer", "counted",
           "evaluate", "expand", "joined", "predict_files"]
