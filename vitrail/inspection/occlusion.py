"""What the answer needs: cover one pane of the image at a time and watch it fall (1311.2901, section 4.2)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor

from vitrail.inspection.explained import Explained
from vitrail.inspection.lens import evaluating
from vitrail.inspection.panes import Panes, panes_of
from vitrail.vocabulary import Images

COVERS = 200
"""At most so many panes of an image are covered, each in turn."""

Fill = Literal["mean", "blur"]
"""What stands where something is taken away: the mean color, or the image's own blur."""


@dataclass(frozen=True)
class Occlusion:
    """`falls` float32 [images, rows, columns]: by how much the score falls when that pane is covered; below 0 where it
    rises. `whole` [images]: the score of the whole image."""

    falls: Float[np.ndarray, "images rows columns"]
    whole: Float[np.ndarray, " images"]
    panes: Panes


@torch.inference_mode()
def occlusion(asked: Explained, fill: Fill = "mean", batch_size: int = 8, most: int = COVERS) -> Occlusion:
    """One pane at a time: a patch, or a window of so many patches that there are at most `most` of them."""
    panes = panes_of(asked.bundle.model, asked.raw).coarser(most)
    alone = torch.eye(panes.count, dtype=torch.bool, device=asked.bundle.device)
    nothing = torch.zeros_like(alone[:1])
    with evaluating(asked.bundle.model):
        scores = torch.stack([covered(asked, image, panes, torch.cat((nothing, alone)), fill, batch_size)
                              for image in range(len(asked.raw))]).cpu().numpy()
    return Occlusion((scores[:, :1] - scores[:, 1:]).reshape(-1, *panes.grid), scores[:, 0], panes)


def covered(asked: Explained, image: int, panes: Panes, chosen: Bool[Tensor, "covers panes"], fill: Fill,
            batch_size: int) -> Float[Tensor, " covers"]:
    """The score of one image with the chosen panes of each cover taken away."""
    whole = asked.images(image)
    beneath = filled(whole, fill, panes)
    scores = []
    for part in chosen.split(max(batch_size, 1)):
        images = torch.where(panes.pixels(part)[:, None], beneath, whole)
        scores.append(asked.score(images, torch.full((len(part),), image, device=whole.device)))
    return torch.cat(scores)


def filled(images: Images, fill: Fill, panes: Panes) -> Images:
    """What stands beneath: the mean color, or a blur as wide as a pane, in which no content of one pane is left."""
    if fill == "mean":
        return torch.zeros_like(images)
    down, across = (blur(side, float(np.diff(edges).max())) for side, edges in
                    zip(images.shape[-2:], (panes.down, panes.across), strict=True))
    blurred = down.to(images.device) @ images.float() @ across.to(images.device).T
    return blurred.to(images.dtype)


def blur(side: int, deviation: float) -> Float[Tensor, "side side"]:
    """A Gaussian as a matrix whose rows sum to one, so that borders do not darken."""
    away = torch.arange(side)[:, None] - torch.arange(side)
    return torch.softmax(-0.5 * (away / deviation) ** 2, dim=1)
