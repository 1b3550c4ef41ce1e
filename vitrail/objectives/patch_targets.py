"""What masked patches are to be guessed: targets out of the uint8 image, so that no normalization can spoil them.

mean-color   the patch's mean color with 3 bits a channel, one of 512 (the paper's final choice)
downsized    the same of each of 4 x 4 cells: 16 answers, one of 512 each
pixels       every pixel, from 0 to 1, by squared error

A target says the loss of an answer, counts what the targets are like, and paints them.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal, Protocol

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int, UInt8
from torch import Tensor

from vitrail.errors import UsageError
from vitrail.vocabulary import RawImages, Size

TargetName = Literal["mean-color", "downsized", "pixels"]

LEVELS = 8  # 3 bits a channel
COLORS = LEVELS**3
CELLS = 4

Patches = UInt8[Tensor, "batch patches 3 patch_height patch_width"]


def cut(images: RawImages, patch: Size) -> Patches:
    """Patches in reading order."""
    rows, columns = images.shape[-2] // patch[0], images.shape[-1] // patch[1]
    cut = images.reshape(-1, 3, rows, patch[0], columns, patch[1]).permute(0, 2, 4, 1, 3, 5)
    return cut.reshape(-1, rows * columns, 3, *patch)


def joined(patches: Patches, size: Size) -> RawImages:
    """The inverse of `cut`."""
    (height, width), patch = size, patches.shape[-2:]
    rows, columns = height // patch[0], width // patch[1]
    return patches.reshape(-1, rows, columns, 3, *patch).permute(0, 3, 1, 4, 2, 5).reshape(-1, 3, height, width)


class Target(Protocol):
    """`outputs`: numbers that a prediction of one patch has."""

    outputs: int

    def of(self, patches: Patches) -> Tensor:
        """What is to be guessed of each patch, [batch, patches, ...]."""
        ...

    def loss(self, predicted: Float[Tensor, "batch patches outputs"], target: Tensor) -> dict[str, Tensor]:
        """`loss` and other numbers worth a curve, averaged over all patches."""
        ...

    def counted(self, target: Tensor) -> Float[Tensor, " numbers"]:
        """Numbers that may be added up over batches; see `constant_loss`."""
        ...

    def constant_loss(self, counted: Float[Tensor, " numbers"]) -> float:
        """The loss of the best answer that is the same for all patches."""
        ...

    def answer(self, predicted: Float[Tensor, "batch patches outputs"]) -> Tensor:
        """The best guess, like what `of` returns."""
        ...

    def painted(self, target: Tensor) -> Patches:
        """A target or a guess as patches to look at."""
        ...


class Colors:
    """Mean colors of the `cells` x `cells` parts of a patch, as labels from 0 to 511, [batch, patches, cells**2]."""

    def __init__(self, patch: Size, cells: int) -> None:
        if min(patch) < cells:
            raise UsageError(f"A patch of {patch[0]}x{patch[1]} pixels cannot be downsized to {cells}x{cells}. Use "
                             "--target mean-color or pixels, or larger patches.")
        self.patch, self.cells, self.outputs = patch, cells, cells**2 * COLORS

    def of(self, patches: Patches) -> Int[Tensor, "batch patches cells"]:
        means = F.adaptive_avg_pool2d(patches.flatten(0, 1).float(), self.cells)  # sums are exact, so nothing rounds up
        levels = (means / (256 / LEVELS)).long().flatten(2)  # [patches, 3, cells]
        labels = (levels[:, 0] * LEVELS + levels[:, 1]) * LEVELS + levels[:, 2]
        return labels.unflatten(0, patches.shape[:2])

    def loss(self, predicted: Float[Tensor, "batch patches outputs"],
             target: Int[Tensor, "batch patches cells"]) -> dict[str, Tensor]:
        logits = predicted.unflatten(-1, (-1, COLORS))
        right = (logits.detach().argmax(-1) == target).float().mean()
        return {"loss": F.cross_entropy(logits.flatten(0, 2), target.flatten()), "right": right}

    def counted(self, target: Int[Tensor, "batch patches cells"]) -> Float[Tensor, " numbers"]:
        """How often each color is in each cell."""
        places = torch.arange(target.shape[-1], device=target.device) * COLORS
        return torch.bincount((target + places).flatten(), minlength=self.outputs).double()

    def constant_loss(self, counted: Float[Tensor, " numbers"]) -> float:
        """The entropy of the labels' distribution, averaged over cells, in nats."""
        shares = counted.unflatten(0, (-1, COLORS))
        shares = shares / shares.sum(-1, keepdim=True)
        return abs(float(torch.xlogy(shares, shares).sum(-1).mean()))

    def answer(self, predicted: Float[Tensor, "batch patches outputs"]) -> Int[Tensor, "batch patches cells"]:
        return predicted.unflatten(-1, (-1, COLORS)).argmax(-1)

    def painted(self, target: Int[Tensor, "batch patches cells"]) -> Patches:
        """Every cell in the middle of its colors."""
        levels = torch.stack((target // LEVELS**2, target // LEVELS % LEVELS, target % LEVELS), dim=2)
        small = (levels * (256 // LEVELS) + 128 // LEVELS).flatten(0, 1).unflatten(-1, (self.cells, self.cells)).float()
        return F.interpolate(small, self.patch).to(torch.uint8).unflatten(0, target.shape[:2])


class Pixels:
    """Every pixel of a patch, from 0 to 1, [batch, patches, 3 * height * width]."""

    def __init__(self, patch: Size) -> None:
        self.patch, self.outputs = patch, 3 * patch[0] * patch[1]

    def of(self, patches: Patches) -> Float[Tensor, "batch patches outputs"]:
        return patches.flatten(2).float() / 255

    def loss(self, predicted: Float[Tensor, "batch patches outputs"],
             target: Float[Tensor, "batch patches outputs"]) -> dict[str, Tensor]:
        return {"loss": F.mse_loss(predicted, target)}

    def counted(self, target: Float[Tensor, "batch patches outputs"]) -> Float[Tensor, " numbers"]:
        """How many there are, and the sums of each pixel and of its square."""
        rows = target.flatten(0, 1).double()
        return torch.cat((rows.new_tensor([len(rows)]), rows.sum(0), rows.square().sum(0)))

    def constant_loss(self, counted: Float[Tensor, " numbers"]) -> float:
        """The variance of a pixel around its mean over all patches."""
        means, squares = (counted[1:] / counted[0]).chunk(2)
        return float((squares - means.square()).clamp(min=0).mean())

    def answer(self, predicted: Float[Tensor, "batch patches outputs"]) -> Float[Tensor, "batch patches outputs"]:
        return predicted

    def painted(self, target: Float[Tensor, "batch patches outputs"]) -> Patches:
        return (target.clamp(0, 1) * 255).round().to(torch.uint8).unflatten(-1, (3, *self.patch))


TARGETS: dict[TargetName, Callable[[Size], Target]] = {
    "mean-color": lambda patch: Colors(patch, 1), "downsized": lambda patch: Colors(patch, CELLS), "pixels": Pixels}
