"""What a model answers to every image of a split, in order, kept without the images."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from vitrail.bundle import Activation, Bundle
from vitrail.data.loader import in_order
from vitrail.data.source import Split
from vitrail.errors import BundleError, DataError, ImageError
from vitrail.vocabulary import Progress

Precision = Literal["fp32", "bf16"]


@dataclass(frozen=True)
class Answers:
    """One entry per image that could be read, in the order of the split.

    `indices` int64 [answered]: which picture of the split. `labels` as the split has them, for every picture.
    `predicted` int64 [answered], `confidence` float32 [answered]: the best class and its probability.
    `true_confidence` float32 [answered]: the probability of the true class. `ranks` int64 [answered]: classes that
    come before the true one. `losses` float32 [answered]. With several labels an image, `scores` float32
    [answered, classes] holds every probability, `true_confidence` and `ranks` are empty.
    """

    indices: np.ndarray
    labels: np.ndarray
    predicted: np.ndarray
    confidence: np.ndarray
    true_confidence: np.ndarray
    ranks: np.ndarray
    losses: np.ndarray
    scores: np.ndarray | None
    errors: tuple[ImageError, ...]

    @property
    def multilabel(self) -> bool:
        return self.labels.ndim == 2

    @property
    def truth(self) -> np.ndarray:
        """Labels of the answered images."""
        return self.labels[self.indices]


def answer(bundle: Bundle, split: Split, *, batch_size: int = 64, workers: int | None = None,
           precision: Precision = "fp32", progress: Callable[[Progress], None] | None = None) -> Answers:
    """Run the model once over the split, where the Bundle lies (`bundle.to(device)` moves it).

    A picture that cannot be read has no entry and stands in `errors`; nothing takes its place. Raises DataError for
    an empty split or labels the model has no output for, BundleError where the model has no head that has learned, or
    gives no finite numbers.
    """
    bundle.refuse_silence()
    check_labels(split, bundle.model.config.classes)
    parts: list[dict[str, np.ndarray]] = []
    errors: list[ImageError] = []
    done, started = 0, time.perf_counter()
    for raw, indices, failed in in_order(split, bundle.preprocess, batch_size, workers):
        errors.extend(failed)
        if len(indices):
            places = indices.numpy()
            with computing(bundle.device, precision):
                logits = bundle.logits(raw)
            check_finite(logits, split.names[int(places[0])])
            labels = torch.from_numpy(split.labels[places]).to(logits.device)
            parts.append({"indices": places, **judge(logits, labels, bundle.activation)})
        done += len(indices) + len(failed)
        if progress is not None:
            progress(Progress(done, len(split), done / max(time.perf_counter() - started, 1e-9)))
    return collect(parts, split.labels, tuple(errors))


def judge(logits: Float[Tensor, "batch classes"], labels: Tensor, activation: Activation) -> dict[str, np.ndarray]:
    """What `Answers` keeps of one batch. Equal logits rank by class index, as `argmax` takes the first."""
    scores = probabilities(logits, activation)
    confidence, predicted = scores.gather(1, logits.argmax(1, keepdim=True))[:, 0], logits.argmax(1)
    kept = {"predicted": predicted, "confidence": confidence}
    if labels.dim() == 2:
        losses = F.binary_cross_entropy_with_logits(logits, labels.to(logits.dtype), reduction="none").sum(1)
        kept |= {"losses": losses, "scores": scores}
    else:
        column = labels[:, None]
        true = logits.gather(1, column)
        before = (logits > true) | ((logits == true) & (torch.arange(logits.shape[1], device=column.device) < column))
        kept |= {"true_confidence": scores.gather(1, column)[:, 0], "ranks": before.sum(1),
                 "losses": single_label_losses(logits, labels, activation)}
    return {name: value.cpu().numpy() for name, value in kept.items()}


def probabilities(logits: Tensor, activation: Activation) -> Tensor:
    if activation == "none":
        return logits
    return logits.softmax(-1) if activation == "softmax" else logits.sigmoid()


def single_label_losses(logits: Tensor, labels: Tensor, activation: Activation) -> Tensor:
    """Cross-entropy of each image; for a sigmoid model its own loss, summed over the classes."""
    if activation == "sigmoid":
        targets = F.one_hot(labels, logits.shape[1]).to(logits.dtype)
        return F.binary_cross_entropy_with_logits(logits, targets, reduction="none").sum(1)
    return F.cross_entropy(logits, labels, reduction="none")


def collect(parts: list[dict[str, np.ndarray]], labels: np.ndarray, errors: tuple[ImageError, ...]) -> Answers:
    if not parts:
        raise DataError(f"None of the {len(labels)} images can be read. The first: {errors[0]}." if errors else
                        "There is no image to evaluate on.")
    joined = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
    joined.setdefault("true_confidence", np.empty(0, np.float32))
    joined.setdefault("ranks", np.empty(0, np.int64))
    return Answers(scores=joined.pop("scores", None), **joined, labels=labels, errors=errors)


def joined(parts: Sequence[Answers]) -> Answers:
    """What was answered to consecutive parts of a split, as if to all of it at once."""
    starts = np.cumsum([0, *(len(part.labels) for part in parts[:-1])])
    indices = np.concatenate([part.indices + start for part, start in zip(parts, starts, strict=True)])
    scores = None if parts[0].scores is None else np.concatenate([part.scores for part in parts])
    errors = tuple(error for part in parts for error in part.errors)
    rest = {name: np.concatenate([getattr(part, name) for part in parts])
            for name in ("labels", "predicted", "confidence", "true_confidence", "ranks", "losses")}
    return Answers(indices=indices, scores=scores, errors=errors, **rest)


def check_labels(split: Split, classes: int) -> None:
    if not len(split):
        raise DataError("There is no image to evaluate on: the split is empty. Give data with labeled images.")
    labels = split.labels
    if labels.ndim == 2 and labels.shape[1] != classes:
        raise DataError(f"The labels have {labels.shape[1]} columns, the model has {classes} outputs. "
                        "Map the classes by name with `align` first.")
    if labels.ndim == 1 and not 0 <= labels.min() <= labels.max() < classes:
        raise DataError(f"Labels run from {labels.min()} to {labels.max()}, the model has outputs 0 to {classes - 1}. "
                        "Map the classes by name with `align` first.")


def check_finite(logits: Tensor, name: str) -> None:
    """A comparison with NaN is false, so broken weights would otherwise look like a model that is never wrong."""
    if not bool(logits.isfinite().all()):
        raise BundleError(f"The model's answer to {name} (or an image beside it) is not a finite number. Its training "
                          "has diverged or its weights are damaged; use another checkpoint.")


@contextlib.contextmanager
def computing(device: torch.device, precision: Precision) -> Iterator[None]:
    with torch.autocast(device.type, dtype=torch.bfloat16, enabled=precision == "bf16"):
        yield
