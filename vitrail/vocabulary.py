"""Shared words: the axes of every shape, and the few values that travel between stations.

Axes        batch      images in one step            height, width_px   pixels
            channels   3 (red, green, blue)          rows, columns      the grid of patches
            tokens     class + registers + patches   width              numbers in one token
            heads      attention heads               classes            answers
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple, TypeAlias

import numpy as np
from jaxtyping import Float, Int, UInt8
from torch import Tensor

Images: TypeAlias = Float[Tensor, "batch channels height width_px"]
"""Normalized images, ready for a model."""

RawImages: TypeAlias = UInt8[Tensor, "batch channels height width_px"]
"""Images as the loader yields them: 0 to 255, normalized later on the device."""

Picture: TypeAlias = UInt8[np.ndarray, "height width_px 3"]
"""One decoded picture of any size: RGB, 0 to 255."""

Grid: TypeAlias = tuple[int, int]
"""Rows and columns of patches."""

Size: TypeAlias = tuple[int, int]
"""Height and width in pixels, in this order everywhere."""


class Box(NamedTuple):
    """A part of a picture, in pixels."""

    top: int
    left: int
    height: int
    width: int


@dataclass(frozen=True)
class Tokens:
    """A sequence that knows its places. `values` [batch, tokens, width]; `places` [tokens, 2] or
    [batch, tokens, 2]: (row, column) of each patch on `grid`. Prefix tokens are added later and have no place."""

    values: Float[Tensor, "batch tokens width"]
    places: Int[Tensor, "*tokens 2"]
    grid: Grid


@dataclass(frozen=True)
class Batch:
    """What the loader yields and an objective consumes.

    `views`: named uint8 images: "image" for the plain one, [batch, 3, height, width]; of several crops "global",
    [batch, 2, 3, height, width], and "local", [batch, crops, 3, smaller height, smaller width].
    `targets`: [batch] class indices (int64), or [batch, classes] from 0 to 1 (float32): labels of which an image has
    several, or shares of the images it was mixed from.
    `indices`: [batch] int64, which sample of the split each is.
    `positions`: [batch] int64, the place of each in the endless stream.
    """

    views: dict[str, Tensor]
    targets: Tensor
    indices: Tensor
    positions: Tensor


class Shown(NamedTuple):
    """What is to be seen of one picture, uint8 [3, height, width] each: what the model saw, its guess, and what is
    there; or what else a `Legend` says."""

    seen: UInt8[Tensor, "3 height width_px"]
    guess: UInt8[Tensor, "3 height width_px"]
    truth: UInt8[Tensor, "3 height width_px"]


class Legend(NamedTuple):
    """What rows of `Shown` are: a word for files and boards, a title, a sentence or two below, and what stands over
    the three columns."""

    name: str
    title: str
    words: str
    columns: tuple[str, str, str] = ("input", "guess", "truth")


class Progress(NamedTuple):
    """How far a long piece of work is: `done` of `total` units, and the samples a second at present."""

    done: int
    total: int
    rate: float
