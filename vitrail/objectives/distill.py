"""Learn from the labels and from a trained model, the teacher, which looks at the same pictures.

hard    the teacher's best answer counts as a second label (DeiT, 2012.12877, equation 3)
soft    all of its answers count, at a temperature (1503.02531)

The teacher sees what the student sees, cropped and mixed: two functions are matched on any picture, whether a label
fits it or not (2106.05237).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from vitrail.objectives.classify import Classify, Loss, cross_entropy
from vitrail.objectives.contract import Losses
from vitrail.vocabulary import Batch, RawImages, Size

Distillation = Literal["hard", "soft"]


class Teacher:
    """A trained model with its own size and normalization, whose answers are in the order of the student's classes.

    It is no module: its weights are no parameters of an objective, do not learn, and are in no checkpoint.
    """

    def __init__(self, model: nn.Module, normalize: Callable[[Tensor], Tensor], size: Size,
                 interpolation: str = "bilinear") -> None:
        self.model = model.eval().requires_grad_(False)
        self.normalize, self.size, self.interpolation = normalize, size, interpolation

    @torch.no_grad()
    def logits(self, raw: RawImages) -> Float[Tensor, "batch classes"]:
        """Answers to pictures of any size, which are resized to the teacher's."""
        images = self.normalize(raw)
        if images.shape[-2:] != self.size:
            images = F.interpolate(images, self.size, mode=self.interpolation, antialias=True)
        answers: Tensor = self.model(images.to(next(self.model.parameters()).dtype)).float()
        return answers


class Distill(Classify):
    """(1 - share) of the labels' loss and `share` of the teacher's. Parts: those of `Classify`, `loss` being the whole;
    `label_loss`, `teacher_loss`, and `agreement`: how often the best answers of both are the same.

    Labels may be smoothed, what the teacher says is not (as in DeiT). Soft answers are compared by the Kullback-Leibler
    divergence, averaged over images, times the square of the temperature; of sigmoids, summed over classes. (DeiT's
    code divides by the classes too, its paper does not.)
    """

    def __init__(self, student: Classify, teacher: Teacher, *, kind: Distillation = "hard", share: float = 0.5,
                 temperature: float = 3.0) -> None:
        """`student`: what would be learned without the teacher."""
        super().__init__(student.model, student.normalize, loss=student.loss, label_smoothing=student.label_smoothing,
                         multilabel=student.multilabel)
        self.teacher = teacher
        self.kind: Distillation = kind
        self.share, self.temperature = share, temperature

    def losses(self, batch: Batch) -> Losses:
        logits, answers = self.logits(batch), self.teacher.logits(batch.views["image"])
        own = self.judged(logits, batch.targets)
        best = answers.argmax(-1)
        taught = cross_entropy(logits, best, self.loss) if self.kind == "hard" else (
            divergence(logits, answers, self.loss, self.temperature))
        total = (1 - self.share) * own.total + self.share * taught
        return Losses(total, own.parts | {
            "loss": total.detach(), "label_loss": own.total.detach(), "teacher_loss": taught.detach(),
            "agreement": (logits.detach().argmax(-1) == best).float().mean()})


def divergence(logits: Float[Tensor, "batch classes"], answers: Float[Tensor, "batch classes"], loss: Loss,
               temperature: float) -> Float[Tensor, ""]:
    """How far the student's probabilities are from the teacher's `answers`, 0 where they are the same. The square of
    the temperature makes up for gradients that are smaller by so much."""
    student, teacher = logits / temperature, answers / temperature
    if loss == "softmax":
        apart = F.kl_div(student.log_softmax(-1), teacher.log_softmax(-1), reduction="sum", log_target=True)
    else:
        wanted = teacher.sigmoid()
        apart = (F.binary_cross_entropy_with_logits(student, wanted, reduction="sum")
                 - F.binary_cross_entropy_with_logits(teacher, wanted, reduction="sum"))
    return temperature**2 * apart / logits.shape[0]
