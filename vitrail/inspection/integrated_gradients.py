"""How much each pixel adds to the answer: gradients along the way from an empty image (1703.01365).

    IG = (x - x0) * integral over a of dy/dx at x0 + a (x - x0),  a from 0 to 1

x0 is the mean color, which is zero after normalization. What all pixels add is the whole difference that the image
makes, y(x) - y(x0): how well the sum comes out says whether the steps were enough.

A norm undoes contrast, so that a faint image says what the strong one does. Where the whole model is like that (ResNets
and hybrids, which have a group norm before anything else; DINOv2, too, does most of it within the first tenth of the
way), all happens at once near the mean color, and no few steps find it. There x0 is the image's own blur.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from vitrail.errors import UsageError
from vitrail.inspection.explained import Explained, with_gradients
from vitrail.inspection.occlusion import Fill, filled
from vitrail.inspection.panes import Panes, panes_of
from vitrail.vocabulary import Images

WAYS: tuple[tuple[Fill, int], ...] = (("mean", 32), ("blur", 32), ("blur", 128))
"""Starts and numbers of steps: the first is taken whose sum comes out."""

MISSING = 0.05
"""Share of the whole that the sum may miss."""


@dataclass(frozen=True)
class IntegratedGradients:
    """`pixels` float32 [images, height, width_px]: what each adds to the evidence, summed over colors; below 0, what
    speaks against. `made` [images]: what the whole image adds to `start`, as the model says it. `panes`: where the
    sums of `over_panes` are taken."""

    pixels: Float[np.ndarray, "images height width_px"]
    made: Float[np.ndarray, " images"]
    panes: Panes
    start: Fill
    steps: int

    @property
    def over_panes(self) -> Float[np.ndarray, "images rows columns"]:
        return self.panes.sums(self.pixels)

    @property
    def summed(self) -> Float[np.ndarray, " images"]:
        """What all pixels add; equals `made` up to the error of the steps."""
        total: np.ndarray = self.pixels.sum((1, 2), dtype=np.float64)
        return total

    @property
    def missing(self) -> float:
        """Share of `made` that the sums miss or have too much, over all images."""
        return float(np.abs(self.summed - self.made).sum() / max(np.abs(self.made).sum(), 1e-12))


def integrated_gradients(asked: Explained, steps: int | None = None, batch_size: int = 8,
                         start: Fill = "mean") -> IntegratedGradients:
    """Of each image, by the midpoint rule over `steps` steps from `start`, `batch_size` of them at once. Any model.
    Without `steps`, the first of WAYS whose sums miss no more than MISSING, or else the nearest of them. Raises
    UsageError for fewer than one step."""
    if steps is not None:
        return one_way(asked, start, steps, batch_size)
    found: list[IntegratedGradients] = []
    for way, count in WAYS:
        found.append(one_way(asked, way, count, batch_size))
        if found[-1].missing <= MISSING:
            return found[-1]
    return min(found, key=lambda one: one.missing)


def one_way(asked: Explained, start: Fill, steps: int, batch_size: int) -> IntegratedGradients:
    if steps < 1:
        raise UsageError(f"{steps} steps lead nowhere: give at least 1; {WAYS[0][1]} is usual.")
    panes = panes_of(asked.bundle.model, asked.raw)
    with with_gradients(asked.bundle.model):
        found = [along_the_way(asked, image, filled(asked.images(image), start, panes), steps, batch_size)
                 for image in range(len(asked.raw))]
    return IntegratedGradients(np.stack([pixels for pixels, _ in found]), np.array([made for _, made in found]), panes,
                               start, steps)


def along_the_way(asked: Explained, image: int, empty: Images, steps: int,
                  batch_size: int) -> tuple[Float[np.ndarray, "height width_px"], float]:
    """What the pixels of one image add, and what it makes in all."""
    whole = asked.images(image)
    way = whole.float() - empty.float()
    places = (torch.arange(steps, device=whole.device) + 0.5) / steps
    total = torch.zeros_like(way[0])
    for part in places.split(max(batch_size, 1)):
        total += gradients(asked, image, (empty + part[:, None, None, None] * way).to(whole.dtype)).float().sum(0)
    with torch.no_grad():
        ends = asked.evidence(torch.cat((whole, empty)), torch.full((2,), image, device=whole.device))
    return (total / steps * way[0]).sum(0).cpu().numpy(), float(ends[0] - ends[1])


def gradients(asked: Explained, image: int, images: Tensor) -> Tensor:
    images = images.detach().requires_grad_()
    of = torch.full((len(images),), image, device=images.device)
    (slopes,) = torch.autograd.grad(asked.evidence(images, of).sum(), images)
    return slopes
