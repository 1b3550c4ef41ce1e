"""What a run tells while it goes: a stream of values that a terminal, a page or a test can watch."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from vitrail.bundle import Bundle
from vitrail.evaluation import Evaluation
from vitrail.evaluation.frozen.trials import probe_name
from vitrail.training.loop import Step
from vitrail.vocabulary import Progress


@dataclass(frozen=True)
class Understood:
    """Before anything is trained: what the run took its orders to mean, as (subject, words) rows, and how long it will
    take, measured on a few steps. `images_per_second` is 0 where a signal came first; `peak_bytes`: what this process
    will hold at most in training, None where the system does not say."""

    rows: tuple[tuple[str, str], ...]
    warnings: tuple[str, ...]
    total_steps: int | None
    seconds: float
    images_per_second: float
    peak_bytes: int | None


@dataclass(frozen=True)
class Stepped:
    """One step of training; `remaining` seconds to the end of the whole run."""

    step: Step
    progress: Progress
    epoch: float
    remaining: float


@dataclass(frozen=True)
class Evaluated:
    """A finished pass over a split, after `step` steps. `final`: of the Bundle that the run leaves."""

    step: int
    split: str
    evaluation: Evaluation
    final: bool = False


@dataclass(frozen=True)
class Measured:
    """The same without labels: the objective's own loss, averaged over the `images` that could be read. `beside`: what
    to compare it with, in words."""

    step: int
    split: str
    loss: float
    images: int
    beside: str = ""


@dataclass(frozen=True)
class FeaturesMeasured:
    """What frozen features are worth after `step` steps: accuracy on the held-out images of a labeled source. `scores`
    by "few_shot_SHOTS" and "knn_NEIGHBORS"."""

    step: int
    source: str
    split: str
    scores: dict[str, float]
    images: int

    def words(self) -> str:
        told = [f"{probe_name(key)} {100 * value:.1f} %" for key, value in self.scores.items()]
        return f"{', '.join(told)} right on {self.images:,} {self.split} images of {self.source}"


@dataclass(frozen=True)
class Noted:
    """Something that a person should know and that did not stop the run."""

    text: str


@dataclass(frozen=True)
class Finished:
    """The end. `signal`: the one that ended the run early, or None. `evaluation`: on `split`, where there is one;
    `measured` in its place without labels; `probed`: the last time that its features were measured."""

    bundle: Bundle
    folder: Path
    steps: int
    seconds: float
    split: str | None
    evaluation: Evaluation | None
    signal: int | None
    measured: Measured | None = None
    probed: FeaturesMeasured | None = None


Event = Understood | Stepped | Evaluated | Measured | FeaturesMeasured | Noted | Finished
