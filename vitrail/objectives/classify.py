"""Name what is in an image: one of many (softmax) or any of many (sigmoid) classes."""

from __future__ import annotations

from collections.abc import Callable
from typing import ClassVar, Literal

import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from vitrail.objectives.contract import Losses, Objective
from vitrail.vocabulary import Batch

Loss = Literal["softmax", "sigmoid"]


class Classify(Objective):
    """Cross-entropy of a model's logits. Parts: `loss`, and without `multilabel` (every image has one class) `top1`.

    Targets are indices, or rows of a number from 0 to 1 for each class: several labels, or shares of mixed images.
    Of a mixed image, the class with the largest share counts for `top1`. The sigmoid loss is summed over classes, as in
    the paper's multi-label pre-training, and averaged over images. Smoothing moves targets towards 1 / classes with
    softmax and towards 1/2 with sigmoid, whether they are mixed or not.
    """

    labeled: ClassVar[bool] = True

    def __init__(
        self, model: nn.Module, normalize: Callable[[Tensor], Tensor], *, loss: Loss = "softmax",
        label_smoothing: float = 0.0, multilabel: bool = False,
    ) -> None:
        super().__init__()
        self.model, self.normalize = model, normalize
        self.loss: Loss = loss
        self.label_smoothing, self.multilabel = label_smoothing, multilabel

    @property
    def activation(self) -> Loss:
        return self.loss

    def losses(self, batch: Batch) -> Losses:
        return self.judged(self.logits(batch), batch.targets)

    def logits(self, batch: Batch) -> Float[Tensor, "batch classes"]:
        dtype = next(self.model.parameters()).dtype
        answers: Tensor = self.model(self.normalize(batch.views["image"]).to(dtype)).float()
        return answers

    def judged(self, logits: Float[Tensor, "batch classes"], targets: Tensor) -> Losses:
        total = cross_entropy(logits, targets, self.loss, self.label_smoothing)
        parts = {"loss": total.detach()}
        if not self.multilabel:
            labels = targets if targets.dim() == 1 else targets.argmax(-1)
            parts["top1"] = (logits.detach().argmax(-1) == labels).float().mean()
        return Losses(total, parts)


def cross_entropy(logits: Float[Tensor, "batch classes"], targets: Tensor, loss: Loss,
                  label_smoothing: float = 0.0) -> Float[Tensor, ""]:
    """Of indices, or of rows of a number for each class."""
    if loss == "softmax" and targets.dim() == 1:
        return F.cross_entropy(logits, targets, label_smoothing=label_smoothing)
    labels = targets if targets.dim() == 2 else F.one_hot(targets, logits.shape[-1])
    labels = labels.to(logits.dtype)
    if loss == "softmax":
        return F.cross_entropy(logits, labels, label_smoothing=label_smoothing)
    if label_smoothing:
        labels = labels * (1 - label_smoothing) + label_smoothing / 2
    return F.binary_cross_entropy_with_logits(logits, labels, reduction="sum") / logits.shape[0]
