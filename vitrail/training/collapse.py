"""Does a model that learns without labels learn anything? Its loss against that of the best constant answer.

A model that looks at nothing can still say how common each target is; its loss is then the entropy of the targets' own
distribution, which is counted while the run goes. Where the loss stays there, the run goes on for nothing. The same is
told where the targets are nearly all alike, so that a loss near 0 means nothing.
"""

from __future__ import annotations

import statistics
from collections import deque
from collections.abc import Mapping

import torch

from vitrail.objectives import Objective
from vitrail.training.parallel import SOLO, World

BEFORE = 0.2
"""Share of a run that has to lie behind: at first every model only learns what is common."""

ROWS = 5
"""Rows of the journal whose median is judged."""

LEAST = 0.01
"""Share of the constant answer's loss that has to be gone."""

FALLING = 0.05
"""By so much of the constant answer's loss it falls within those rows while it is still too early to judge."""

ALIKE = 1e-3
"""Targets with a lower loss of the constant answer hardly differ."""


class Collapse:
    """Counts over all processes, and over the whole run where targets stay; `counted` goes into checkpoints."""

    def __init__(self, counted: list[float] | None = None) -> None:
        self.counted = torch.tensor(counted or [], dtype=torch.float64)
        self.recent: deque[float] = deque(maxlen=ROWS)
        self.told = False

    def gather(self, objective: Objective, world: World = SOLO) -> None:
        """Add what the processes have counted since the last call (collective)."""
        for own in world.gathered(objective.counted()):
            if own is not None and len(own):
                self.counted = self.counted + own if len(self.counted) else own

    def row(self, objective: Objective, row: Mapping[str, float]) -> dict[str, float]:
        """Numbers to add to a row of the journal: the loss of the best constant answer, and which share of it is
        gone."""
        if not len(self.counted):
            return {}
        constant, gone = self.beyond(objective, row[f"train/{objective.compared}"])
        if objective.passing:
            self.counted = self.counted[:0]
        self.recent.append(gone)
        return {"train/constant_loss": constant, "train/beyond_constant": gone}

    def beyond(self, objective: Objective, loss: float) -> tuple[float, float]:
        """The loss of the best constant answer, and which share of it is gone."""
        constant = objective.constant_loss(self.counted)
        return constant, 1 - loss / constant if constant > 0 else 0.0

    def words(self, objective: Objective, row: dict[str, float], progress: float) -> str | None:
        """What to say after a row, once: that nothing is learned."""
        if self.told or progress < BEFORE or len(self.recent) < ROWS or not row:
            return None
        constant, gone = row["train/constant_loss"], statistics.median(self.recent)
        falling = self.recent[-1] - self.recent[0] > FALLING
        if constant >= ALIKE and (gone >= LEAST or falling):
            return None
        self.told = True
        return objective.standstill(constant, gone, constant < ALIKE)

    def verdict(self, objective: Objective, loss: float) -> str | None:
        """What to say at the end, of the loss on other images: that nothing was learned, where that has not been said,
        or that what was said is over."""
        if not len(self.counted) or objective.passing:  # what was counted last belongs to other images
            return None
        constant, gone = self.beyond(objective, loss)
        if constant < ALIKE or gone < LEAST:
            return None if self.told else objective.standstill(constant, gone, constant < ALIKE)
        return "It has learned something since it was said that it does not." if self.told else None
