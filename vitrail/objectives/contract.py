"""What every objective is. The loop knows nothing else about what is being learned.

Its parameters beside those of `model` (a mask token, a decoder) learn, stand in checkpoints, and are in no Bundle. To
add one: a file here, its settings in `recipe.ObjectiveSettings`, a line in `workshop.beginning.build_objective`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import ClassVar, Literal, NamedTuple, cast

from jaxtyping import Float
from torch import Tensor, nn

from vitrail.models import Model, ModelConfig, describe
from vitrail.vocabulary import Batch, Legend, Shown

Activation = Literal["softmax", "sigmoid", "none"]


class Losses(NamedTuple):
    """`total` is what backward is called on, averaged over the batch; `parts` are numbers worth a curve each."""

    total: Float[Tensor, ""]
    parts: dict[str, Tensor]


class Objective(nn.Module):
    """Owns what is special about a way of learning: its extra modules, its loss, and how raw images are normalized.

    It finds its images in `batch.views`. What it draws at random it draws by (its seed, `batch.positions`), so
    that the same images are judged alike in any number of processes and parts, and after any resume.
    """

    model: nn.Module
    labeled: ClassVar[bool] = False
    """Whether it reads `batch.targets`; the model then has a head with an answer for each class."""

    views: ClassVar[tuple[str, ...]] = ("image",)
    """What it looks at in `batch.views`."""

    compared: ClassVar[str] = "loss"
    """The part that is compared with `constant_loss`."""

    passing: ClassVar[bool] = False
    """Whether its targets change while it learns, so that only what was counted last tells of them."""

    legend: ClassVar[Legend] = Legend("guesses", "What it guesses", (
        "A row for each image: what the model saw, its guess, and the truth. Violet patches were hidden from it, some "
        "others were swapped. In the second and third picture every patch that was to be guessed stands in the colors "
        "that the model guesses, and that are right."))
    """What `shown` shows."""

    held: frozenset[str] = frozenset()
    """Names of parameters that do not move in this step."""

    @property
    def activation(self) -> Activation:
        """Of the trained model's answers; "none" where no head is trained."""
        return "none"

    def words(self) -> str:
        """What is learned, for the box that opens a run; nothing where the classes say it."""
        return ""

    def macs(self) -> int:
        """Multiply-adds of one image on the way to its losses, by the accounting of models: those of the model alone,
        where it sees each image once and whole."""
        return describe(cast(Model, self.model).config).macs

    def losses(self, batch: Batch) -> Losses:
        """Losses of one micro-batch; images arrive as uint8 and are normalized here, on the device."""
        raise TypeError(f"{type(self).__name__} must define `losses`")

    def forward(self, batch: Batch) -> Losses:
        return self.losses(batch)

    def passes(self) -> list[tuple[float, ModelConfig]]:
        """What one picture of a batch passes through with a backward pass: models, each so many times."""
        return [(1.0, cast(Model, self.model).config)]

    def begin_step(self, progress: float) -> None:
        """Called before a training step: what share of the run lies behind."""

    def end_step(self, total: Callable[[Tensor], Tensor]) -> None:
        """Called after a training step (collective); `total` adds up a tensor over all processes."""

    def follower(self) -> nn.Module | None:
        """A part whose parameters are a moving average of this objective's parameters of the same names. They need no
        gradients; the loop sets them after each step. The Bundle then holds this average."""
        return None

    def kept(self, progress: float) -> float:
        """Of the follower, the share that stays at a step."""
        raise TypeError(f"{type(self).__name__} has no follower")

    def memory(self) -> dict[str, Tensor]:
        """What else a run has to remember, by name: float32 tensors, changed in place, the same in all processes."""
        return {}

    def counted(self) -> Float[Tensor, " numbers"] | None:
        """What this process has counted of the targets it trained on since the last call, as float64 numbers that may
        be added up over calls and processes; None where there is nothing to compare the loss with."""
        return None

    def even_loss(self) -> float | None:
        """The loss of an answer that has no preference, where that says anything before something was counted."""
        return None

    def constant_loss(self, counted: Float[Tensor, " numbers"]) -> float:
        """The loss of the best answer that is the same for every picture, by what was counted."""
        raise TypeError(f"{type(self).__name__} counts nothing")

    def standstill(self, constant: float, gone: float, alike: bool) -> str:
        """What to say where the loss stays at `constant`, that of one answer for all, but for the share that is `gone`,
        or where all targets are `alike`, so that `constant` is nearly 0."""
        if alike:
            return (f"what is to be guessed is nearly the same everywhere: one answer for all has a loss of "
                    f"{constant:.2g}. There is nothing to learn from it. Look at the images, and at the objective.")
        where = f"{100 * abs(gone):.1f} % {'below' if gone >= 0 else 'above'}"
        return (f"the model has learned nothing from the images so far: its loss is {where} that of one answer for all "
                f"({constant:.3f}). Use another learning rate (--lr auto finds one), a "
                "longer run, or another objective or target.")

    def shown(self, batch: Batch) -> list[Shown]:
        """One for each picture, for a person to look at; none where there is nothing to see."""
        return []
