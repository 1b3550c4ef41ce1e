"""What is explained of each image: one number.

    a class         the one that is asked for, else the model's own answer
    the embedding   where there is no head, or one that has not been trained: how near it stays to that of the whole
                    image

Covers and curves watch `score`, which people can read: a probability, or a cosine similarity. Gradients are taken of
`evidence`: a logit, which does not saturate as a probability does. The cosine similarity of an embedding with itself
is at its largest and has no slope at all, so the evidence of an embedding is how far it stands from that of an empty
image, in the direction of the whole image's.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor, nn

from vitrail.bundle import Bundle
from vitrail.errors import NothingToSeeError, UsageError
from vitrail.inspection.lens import evaluating, in_batches, normalized
from vitrail.inspection.panes import check_images
from vitrail.models import Model
from vitrail.vocabulary import Images, RawImages


@dataclass(frozen=True)
class Explained:
    """What is explained of `raw`, image by image. `classes` [images], or None for the embedding, of which `whole` and
    `away` [images, embedding] are the unit vectors of the whole image, and of the way to it from an empty one."""

    bundle: Bundle
    raw: RawImages
    classes: Int[Tensor, " images"] | None
    whole: Float[Tensor, "images embedding"]
    away: Float[Tensor, "images embedding"]

    @property
    def unit(self) -> str:
        """What `score` is, in words."""
        if self.classes is None:
            return "similarity"
        return "logit" if self.bundle.activation == "none" else "probability"

    @property
    def names(self) -> list[str]:
        """What is explained of each image, in words."""
        if self.classes is None:
            return ["its embedding"] * len(self.raw)
        return [self.bundle.class_name(index) for index in self.classes.tolist()]

    def images(self, image: int) -> Images:
        """One image as it enters the model, [1, channels, height, width]."""
        return normalized(self.bundle, self.raw[image : image + 1])

    def score(self, images: Images, of: Int[Tensor, " batch"]) -> Float[Tensor, " batch"]:
        """The number to watch, for (changed) normalized images. `of`: which image each of them was."""
        answers = answered(self.bundle.model, images, self.classes is None)
        if self.classes is None:
            return (F.normalize(answers, dim=1) * self.whole[of]).sum(1)
        if self.bundle.activation != "none":
            answers = answers.softmax(1) if self.bundle.activation == "softmax" else answers.sigmoid()
        return answers.gather(1, self.classes[of, None])[:, 0]

    def evidence(self, images: Images, of: Int[Tensor, " batch"]) -> Float[Tensor, " batch"]:
        """The number to take gradients of."""
        answers = answered(self.bundle.model, images, self.classes is None)
        if self.classes is None:
            return (answers * self.away[of]).sum(1)
        return answers.gather(1, self.classes[of, None])[:, 0]


def answered(model: Model, images: Images, embedding: bool) -> Float[Tensor, "batch _"]:
    return (model.embed(images) if embedding else model(images)).float()


@torch.inference_mode(False)  # what it keeps meets gradients later
@torch.no_grad()
def explained(bundle: Bundle, raw: RawImages, target: int | None = None, batch_size: int = 8) -> Explained:
    """What there is to explain. Raises UsageError for a target that is no class or images that do not fit, BundleError
    for a target of a model that answers nothing, NothingToSeeError where answers are not finite."""
    check_images(bundle.model, raw)
    check_target(bundle, target)
    silent = bundle.silence() is not None
    with evaluating(bundle.model):
        answers = torch.cat([answered(bundle.model, normalized(bundle, part), silent)
                             for part in in_batches(raw, batch_size)])
        empty = answered(bundle.model, torch.zeros_like(normalized(bundle, raw[:1])), silent)
    if not bool(answers.isfinite().all()):
        raise NothingToSeeError(f"{bundle.model.config.name} answers with numbers that are not finite: there is "
                                "nothing to explain. Its weights are damaged, or its training has diverged.")
    whole, away = F.normalize(answers, dim=1), F.normalize(answers - empty, dim=1)
    if silent:
        return Explained(bundle, raw, None, whole, away)
    classes = answers.argmax(1) if target is None else torch.full((len(raw),), target, device=answers.device)
    return Explained(bundle, raw, classes, whole, away)


def check_target(bundle: Bundle, target: int | None) -> None:
    count = bundle.model.config.classes
    if target is None:
        return
    bundle.refuse_silence()
    if not 0 <= target < count:
        names = f" ({bundle.class_name(0)} to {bundle.class_name(count - 1)})" if bundle.classes else ""
        raise UsageError(f"There is no class {target} to explain: {bundle.model.config.name} has {count}, counted from "
                         f"0 to {count - 1}{names}. Without a target, what the model answers is explained.")


@contextmanager
def with_gradients(model: nn.Module) -> Iterator[None]:
    """Evaluation in which gradients exist, whatever the caller has turned off. Nothing is added to `grad` of weights
    where torch.autograd.grad asks for those of other tensors."""
    with torch.inference_mode(False), torch.enable_grad(), evaluating(model):
        yield
