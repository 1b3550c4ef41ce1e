"""The learning rate over a run, as a pure function of how far the run is."""

from __future__ import annotations

import math
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, PositiveFloat, PositiveInt, model_validator

ScheduleKind = Literal["cosine", "linear", "rsqrt", "constant", "staircase"]


class Schedule(BaseModel):
    """Linear warmup to the peak, then a decay. Exactly one of `epochs`, `steps` and `seconds` says how long it lasts.

    `final`: the learning rate at the end as a fraction of the peak, for cosine and linear. rsqrt is flat until `warmup`
    and then falls with the root of the step (2106.04560); staircase falls to a tenth at each of `drops`, which are
    fractions of the run.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: ScheduleKind = "cosine"
    warmup: Annotated[float, Field(ge=0)] = Field(0.05, description="steps; below 1, a fraction of the run")
    final: float = Field(0.0, ge=0, le=1)
    drops: tuple[Annotated[float, Field(gt=0, lt=1)], ...] = (0.3, 0.6, 0.9)
    epochs: PositiveFloat | None = None
    steps: PositiveInt | None = None
    seconds: PositiveFloat | None = None

    @model_validator(mode="after")
    def _one_length(self) -> Schedule:
        given = [name for name in ("epochs", "steps", "seconds") if getattr(self, name) is not None]
        if len(given) != 1:
            raise ValueError(f"give exactly one of epochs, steps and seconds (given: {', '.join(given) or 'none'})")
        return self

    def total_steps(self, samples_per_epoch: int, batch_size: int) -> int | None:
        """Optimizer steps in the whole run, or None where a time limit decides."""
        if self.steps is not None:
            return self.steps
        if self.epochs is not None:
            return max(1, math.ceil(self.epochs * samples_per_epoch / batch_size))
        return None

    def factor(self, step: int, progress: float, total: int | None = None) -> float:
        """Learning rate of `step` (from 0) as a fraction of the peak.

        `progress` is the fraction of the run that lies behind, by steps or by time. Without `total` steps, a warmup
        given in steps still counts steps and the decay follows `progress` alone.
        """
        if self.warmup >= 1:
            warming, share = (step + 1) / self.warmup, min(self.warmup / total, 1.0) if total else 0.0
        else:
            share = self.warmup
            first = 1 / total if total else 0.0  # step 0 already moves, by one step's share
            warming = (progress + first) / share if share else 1.0
        if warming < 1:
            return warming
        if self.kind == "staircase":
            return 0.1 ** sum(progress >= drop for drop in self.drops)
        return self._decay(step, min(max((progress - share) / (1 - share), 0.0), 1.0) if share < 1 else 1.0)

    def _decay(self, step: int, done: float) -> float:
        if self.kind == "constant":
            return 1.0
        if self.kind == "rsqrt":
            return 1.0 / math.sqrt(max(1.0, (step + 1) / max(self.warmup, 1.0)))
        shape = 0.5 * (1 + math.cos(math.pi * done)) if self.kind == "cosine" else 1 - done
        return self.final + (1 - self.final) * shape
