"""The contract of inspection. A lens is one question about a model:

    Lens.look(Subject) -> Look     numbers, figures, and a caption that says how to read them

A lens never changes the model and leaves nothing behind in it. Where a question makes no sense for a model, `look`
raises NothingToSeeError with the reason, and the other lenses go on. To add one: a file in `lenses/`, a line in
`lenses/__init__.py`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn

from vitrail.bundle import Bundle
from vitrail.errors import NothingToSeeError
from vitrail.models import Family, ViT
from vitrail.vocabulary import Grid, Images, RawImages

if TYPE_CHECKING:
    from matplotlib.figure import Figure

SHOWN = 6
"""Images that are drawn, of all that are measured."""


NO_ATTENTION: dict[Family, str] = {
    "bit": "A ResNet sees through convolutions only: it has neither tokens nor attention.",
    "axial-resnet": "An AxialResNet attends along rows and columns of maps of many sizes, with convolutions between: "
                    "it has no patches whose attention would be one picture.",
}
"""Why a family has no attention to show."""


@dataclass(frozen=True)
class Subject:
    """What is looked at. `raw`: images as `bundle.preprocess` makes them, `names` theirs, of which the first `shown`
    are drawn. `place`: the patch (row, column) whose attention is asked for, the class token's (or the mean) without.
    `target`: the class to explain; without, what the model answers for each image."""

    bundle: Bundle
    raw: RawImages
    names: tuple[str, ...]
    shown: int = SHOWN
    place: tuple[int, int] | None = None
    target: int | None = None
    batch_size: int = 8

    @property
    def few(self) -> RawImages:
        """The images that are drawn."""
        return self.raw[: self.shown]


class Drawing(NamedTuple):
    """One figure. `draw` fills an empty one of `width` by `height` inches; `words` say what is on it for those who do
    not see it."""

    name: str
    draw: Callable[[Figure], None]
    width: float
    height: float
    words: str


class Look(NamedTuple):
    """`numbers`: everything that was measured, as JSON. `found`: what it says, in a sentence. `caption`: how to read
    the drawings. `measures`: the few numbers by which two models compare, by what they are."""

    numbers: Mapping[str, Any]
    drawings: tuple[Drawing, ...]
    caption: str
    found: str = ""
    measures: Mapping[str, float] = MappingProxyType({})


def once(subject: Subject) -> int:
    """Each image goes through the model about once."""
    return len(subject.raw)


class Lens(NamedTuple):
    """`title` is the question that it answers. `passes`: about how many images, changed or not, it runs through the
    model."""

    name: str
    title: str
    look: Callable[[Subject], Look]
    passes: Callable[[Subject], int] = once


def transformer(bundle: Bundle) -> ViT:
    """The model, where it has tokens that attend to one another. Raises NothingToSeeError where it has none."""
    model = bundle.model
    if not isinstance(model, ViT):
        raise NothingToSeeError(f"{model.config.name} has no attention to look at. {NO_ATTENTION[model.config.family]}")
    return model


def attending(bundle: Bundle) -> ViT:
    """A transformer with several patches. Raises NothingToSeeError for others."""
    model = transformer(bundle)
    if model.config.patches == 1:
        raise NothingToSeeError(f"{model.config.name} takes the whole image for one patch, which can attend to no "
                                "other. A larger --image-size, or a model with smaller patches, has more of them.")
    return model


def grid_of(model: ViT, raw: RawImages) -> Grid:
    """Rows and columns of patches of these images."""
    patch = model.config.patch
    return raw.shape[-2] // patch[0], raw.shape[-1] // patch[1]


def normalized(bundle: Bundle, raw: RawImages) -> Images:
    """What enters the model."""
    parameter = next(bundle.model.parameters())
    return bundle.preprocess.normalize(raw.to(parameter.device)).to(parameter.dtype)


@contextmanager
def evaluating(model: nn.Module) -> Iterator[None]:
    """Without dropout, and every part as it was afterwards, also after errors."""
    training = {part: part.training for part in model.modules()}
    model.eval()
    try:
        yield
    finally:
        for part, was in training.items():
            part.training = was


@torch.inference_mode()
def encoded(bundle: Bundle, raw: RawImages) -> Float[Tensor, "batch tokens width"]:
    """All tokens of a transformer after its last norm, in evaluation mode."""
    model = transformer(bundle)
    with evaluating(model):
        return model.encode(normalized(bundle, raw))


@torch.inference_mode()
def pooled(bundle: Bundle, tokens: Float[Tensor, "batch tokens width"]) -> Float[Tensor, "batch pooled"]:
    """What a transformer's answer is made of, out of its tokens."""
    answer: Tensor = bundle.model.get_submodule("pool")(tokens)
    return answer


def rounded(values: np.ndarray, digits: int) -> Any:
    """Lists for JSON, without the noise that a float32 has as a decimal number."""
    return np.asarray(values, np.float64).round(digits).tolist()


def counted_images(count: int) -> str:
    return "1 image" if count == 1 else f"{count:,} images"


def batches_of(count: int, size: int) -> Iterator[slice]:
    """Which of so many images are in each batch. Numbers that are kept go into an array made before: small tensors
    kept one by one lie between large ones that are freed, and the memory of these is then lost to others."""
    size = max(size, 1)
    for start in range(0, count, size):
        yield slice(start, min(start + size, count))


def in_batches(raw: RawImages, size: int) -> Iterator[RawImages]:
    return (raw[rows] for rows in batches_of(len(raw), size))
