"""How much each pixel adds to the answer: gradients along the way from an empty image (1703.01365).

    IG = (x - x0) * integral over a of dy/dx at x0 + a (x - x0),  a from 0 to 1

x0 is the mean color, which is zero after normalization. What all pixels add is the whole difference that the image
makes, y(x) - y(x0): how well the sum comes out says whether the steps were enough.

A model that begins with convolutions and a group norm (ResNets and hybrids) sees no difference between a faint image
and a strong one: on the way from the mean color all happens in the first thousandth, and no number of steps finds it.
For these x0 is the image's own blur.
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
from vitrail.models import Hybrid, Model, ViT
from vitrail.vocabulary import Images

STEPS: dict[Fill, int] = {"mean": 32, "blur": 128}
"""Enough for sums within 1 % of what a ViT says, and 5 % of what a ResNet says, both trained for minutes."""


@dataclass(frozen=True)
class IntegratedGradients:
    """`pixels` float32 [images, height, width_px]: what each adds to the evidence, summed over colors; below 0, what
    speaks against. `made` [images]: what the whole image adds to `start`, as the model says it. `panes`: where the
    sums of `over_panes` are taken."""

    pixels: Float[np.ndarray, "images height width_px"]
    made: Float[np.ndarray, " images"]
    panes: Panes
    start: Fill

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
                         start: Fill | None = None) -> IntegratedGradients:
    """Of each image, by the midpoint rule over `steps` steps (without: as STEPS has it), `batch_size` of them at once.
    Any model. `start`: what an empty image is; the mean color without, and the image's own blur where contrast means
    nothing. Raises UsageError for fewer than one step."""
    if steps is not None and steps < 1:
        raise UsageError(f"{steps} steps lead nowhere: give at least 1; {STEPS['mean']} is usual.")
    panes, start = panes_of(asked.bundle.model, asked.raw), start or empty_for(asked.bundle.model)
    with with_gradients(asked.bundle.model):
        found = [along_the_way(asked, image, filled(asked.images(image), start, panes),
                               steps or STEPS[start], batch_size)
                 for image in range(len(asked.raw))]
    return IntegratedGradients(np.stack([pixels for pixels, _ in found]), np.array([made for _, made in found]), panes,
                               start)


def empty_for(model: Model) -> Fill:
    return "blur" if isinstance(model, Hybrid) or not isinstance(model, ViT) else "mean"


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
