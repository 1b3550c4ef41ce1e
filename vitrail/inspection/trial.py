"""Which explanation to trust: take away first what it says matters most, and see whether the answer falls; put that
back first, and see whether it returns (deletion and insertion of RISE, 1806.07421).

Taken away is a pane for the mean color; put back is a pane into the image's own blur. An order is worth its area under
the insertion curve minus that under the deletion curve, and a random order of the same panes is what it has to beat.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from vitrail.inspection.explained import Explained
from vitrail.inspection.lens import evaluating
from vitrail.inspection.occlusion import covered
from vitrail.inspection.panes import Panes

STEPS = 10
"""At so many places between none and all panes the score is measured, closer together at the beginning."""

DRAWS = 4
"""Random orders of each image."""

SURE = 3.0
"""An explanation beats random where it is so many standard errors better. Five are tried at once: two are too few."""

MIDDLE, RANDOM = "middle first", "random"
"""From the middle outward: photographs have their thing there, so a map that knows no more than this is no explanation.
"""


@dataclass(frozen=True)
class Trial:
    """Curves of each order: those of the explanations, MIDDLE and RANDOM (the mean of DRAWS orders).

    `fractions` [places]: the share of panes taken away or put back, 0 to 1. `deletion`, `insertion`: the score, float64
    [orders, images, places]. `noise` [images, draws]: the worth of each random order.
    """

    orders: tuple[str, ...]
    fractions: Float[np.ndarray, " places"]
    deletion: Float[np.ndarray, "orders images places"]
    insertion: Float[np.ndarray, "orders images places"]
    noise: Float[np.ndarray, "images draws"]

    @property
    def areas(self) -> tuple[Float[np.ndarray, "orders images"], Float[np.ndarray, "orders images"]]:
        """Under the deletion curves (an order is good where it is small) and the insertion curves (where large)."""
        return area(self.deletion, self.fractions), area(self.insertion, self.fractions)

    @property
    def worth(self) -> Float[np.ndarray, "orders images"]:
        """Insertion minus deletion."""
        deletion, insertion = self.areas
        return insertion - deletion

    @property
    def gain(self) -> dict[str, float]:
        """How much better than random each order is, over the images, the best first."""
        worth = self.worth.mean(1) - self.noise.mean()
        gains = {name: float(one) for name, one in zip(self.orders, worth, strict=True) if name != RANDOM}
        return dict(sorted(gains.items(), key=lambda pair: -pair[1]))

    @property
    def error(self) -> float:
        """The standard error of a gain, if the order were a random one: from how much random orders of the same image
        differ, so that a few images are enough."""
        images, draws = self.noise.shape
        spread = self.noise.var(1, ddof=1).mean()
        return float(np.sqrt(spread * (1 + 1 / draws) / images))

    @property
    def trusted(self) -> list[str]:
        """Explanations that beat random, the best first."""
        return [name for name, gain in self.gain.items() if name != MIDDLE and gain > SURE * self.error]


def area(curves: Float[np.ndarray, "*batch places"], fractions: Float[np.ndarray, " places"]) -> np.ndarray:
    found: np.ndarray = np.trapezoid(curves, fractions, axis=-1)
    return found


@torch.inference_mode()
def trial(asked: Explained, panes: Panes, maps: Mapping[str, Float[np.ndarray, "images rows columns"]],
          batch_size: int = 8, seed: int = 0) -> Trial:
    """`maps`: explanations on the grid of `panes`, larger where it matters more; ties are broken by chance."""
    counts = places(panes.count)
    names = (*maps, MIDDLE, RANDOM)
    found: dict[str, list[np.ndarray]] = {"deletion": [], "insertion": []}
    with evaluating(asked.bundle.model):
        for image in range(len(asked.raw)):
            chance = np.random.default_rng((seed, image))
            ranks = np.stack([ranked(one, chance) for one in (
                *(map[image] for map in maps.values()), middle(panes), *[np.zeros(panes.grid)] * DRAWS)])
            found["deletion"].append(curve(asked, image, panes, ranks, counts, False, batch_size))
            found["insertion"].append(curve(asked, image, panes, ranks, counts, True, batch_size))
    fractions = counts / panes.count
    deletion, insertion = (np.stack(parts, 1) for parts in found.values())  # [orders with each draw, images, places]
    drawn = slice(len(names) - 1, None)
    noise = area(insertion[drawn], fractions) - area(deletion[drawn], fractions)
    return Trial(names, fractions, averaged(deletion, drawn), averaged(insertion, drawn), noise.T)


def averaged(curves: np.ndarray, drawn: slice) -> np.ndarray:
    """The random orders as one."""
    return np.concatenate((curves[: drawn.start], curves[drawn].mean(0, keepdims=True)))


def curve(asked: Explained, image: int, panes: Panes, ranks: Int[np.ndarray, "orders panes"],
          counts: Int[np.ndarray, " places"], insertion: bool, batch_size: int) -> Float[np.ndarray, "orders places"]:
    """The score when so many panes, the first of each order, are taken away or put back. What is the same for all
    orders, none and all of them, is computed once."""
    of, inner = torch.from_numpy(ranks).to(asked.bundle.device), torch.from_numpy(counts[1:-1]).to(asked.bundle.device)
    changed = (of[:, None] < inner[:, None]).flatten(0, 1)
    nothing = torch.zeros((1, panes.count), dtype=torch.bool, device=changed.device)
    ends = nothing, ~nothing
    chosen: Tensor = torch.cat((*ends, changed))
    scores = covered(asked, image, panes, ~chosen if insertion else chosen, "blur" if insertion else "mean",
                     batch_size).double().cpu().numpy()
    between = scores[2:].reshape(len(ranks), -1)
    first, last = (np.full((len(ranks), 1), score) for score in scores[:2])
    return np.concatenate((first, between, last), 1)


def places(panes: int) -> Int[np.ndarray, " places"]:
    """Numbers of panes, from none to all."""
    even = np.linspace(0, 1, STEPS + 2)
    counts: np.ndarray = np.unique((panes * even**1.5).round().astype(int))
    return counts


def ranked(map: Float[np.ndarray, "rows columns"], chance: np.random.Generator) -> Int[np.ndarray, " panes"]:
    """The place of each pane in the order of a map: 0 for the largest."""
    flat = map.ravel()
    order = np.lexsort((chance.random(flat.size), -flat))
    ranks = np.empty(flat.size, dtype=np.int64)
    ranks[order] = np.arange(flat.size)
    return ranks


def middle(panes: Panes) -> Float[np.ndarray, "rows columns"]:
    """Larger the nearer to the middle, in shares of the sides."""
    rows, columns = (np.abs((np.arange(count) + 0.5) / count - 0.5) for count in panes.grid)
    return -np.hypot(rows[:, None], columns[None])
