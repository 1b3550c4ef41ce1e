"""Masked autoencoder (2111.06377): guess the pixels of patches that the model does not get to see at all.

Three quarters of the patches are masked. The model computes the others alone, so a step costs a fraction of one that
sees everything; a light decoder, which is thrown away, guesses the masked ones from what the model says of the seen.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import ClassVar, NamedTuple

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int, UInt8
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor, nn

from vitrail.errors import UsageError
from vitrail.models import AxialViT, ModelConfig, ViT, ViTConfig, describe
from vitrail.models.vit.patches import places_of
from vitrail.objectives.chance import uniform
from vitrail.objectives.contract import Losses, Objective
from vitrail.objectives.mae_decoder import Decoder, DecoderSettings
from vitrail.objectives.masked_patch import HIDDEN, corrupted_patches, patch_model, taken
from vitrail.objectives.patch_targets import cut, joined
from vitrail.vocabulary import Batch, Images, Legend, RawImages, Shown, Tokens

LEAST_VARIANCE = 1e-6
"""Added to the variance of a patch before it is divided by its root."""


class MaeSettings(BaseModel):
    """`masked`: share of the patches. `normalized`: pixels to guess have mean 0 and variance 1 within each patch, which
    learns better features than pixels as they are (section 4.1)."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    masked: float = Field(0.75, gt=0, lt=1)
    normalized: bool = True
    decoder: DecoderSettings = DecoderSettings()


class Masking(NamedTuple):
    """Which patches of each image are seen and which are masked, as numbers in reading order."""

    seen: Int[Tensor, "batch seen"]
    masked: Int[Tensor, "batch masked"]


def draw(seed: int, positions: Int[Tensor, " batch"], patches: int, masked: int) -> Masking:
    """`masked` of the `patches` of each image, each patch as likely."""
    order = uniform(seed, positions, patches).argsort(dim=1, stable=True)
    return Masking(order[:, masked:].sort(dim=1).values, order[:, :masked].sort(dim=1).values)


class MaskedAutoencoder(Objective):
    """Parts: `loss`, the squared error of a pixel of a masked patch, averaged over all of them."""

    labeled: ClassVar[bool] = False
    legend: ClassVar[Legend] = Legend("guesses", "What it guesses", (
        "A row for each image: what the model saw, its guess, and the truth. Violet patches were hidden from it. In "
        "the second picture they stand as the decoder paints them, in the third as they are."))

    def __init__(self, model: nn.Module, normalize: Callable[[Tensor], Tensor], settings: MaeSettings | None = None,
                 seed: int = 0) -> None:
        """Raises UsageError for a model that cannot leave patches out, or has too few."""
        super().__init__()
        self.settings = settings or MaeSettings()
        self.model: ViT = model_of_some_patches(model)
        config = self.model.config
        self.masked = corrupted_patches(self.settings.masked, config.patches)
        self.normalize, self.seed = normalize, seed
        self.norm = nn.Identity() if config.norm_at == "tokens" else nn.LayerNorm(config.width, eps=config.norm_eps)
        self.decoder = Decoder(config, self.settings.decoder, config.channels * config.patch[0] * config.patch[1])
        self.decoder.stack.recompute = self.model.encoder.recompute
        self.origin = ""
        for part in (self.model.pool, self.model.pool_norm, self.model.hidden, self.model.projection, self.model.head):
            part.requires_grad_(False)  # nothing of them is asked
        self.count: Tensor | None = None

    def words(self) -> str:
        decoder, patches = self.settings.decoder, self.model.config.patches
        layers = f"{decoder.depth} layer{'s' * (decoder.depth > 1)}"
        how = ", normalized within the patch" if self.settings.normalized else ""
        return (f"mae: of each image's {patches} patches {self.masked} are masked; the model sees the other "
                f"{patches - self.masked}, and a decoder of {layers}, {decoder.width} wide"
                f"{self.origin}, guesses the pixels of the masked ones{how}")

    def macs(self) -> int:
        seen = self.of_seen()
        return describe(seen).macs + self.decoder.macs(seen.tokens, self.masked)

    def passes(self) -> list[tuple[float, ModelConfig]]:
        return [(1.0, self.of_seen()), (1.0, self.decoder.config)]

    def of_seen(self) -> ViTConfig:
        """The model as it computes patches that are seen: a strip of them, all tokens of which are read, without what
        comes after its norm."""
        config = self.model.config
        pooling = {"attention": "mean", "token": "token+mean"}.get(config.pooling, config.pooling)
        return config.model_copy(update={
            "image_size": (config.patch[0], (config.patches - self.masked) * config.patch[1]), "classes": 0,
            "head_hidden": None, "projection": None, "pooling": pooling})

    def losses(self, batch: Batch) -> Losses:
        raw, masking = batch.views["image"], self.masking(batch)
        target = self.targets(raw, masking)
        loss = F.mse_loss(self.predicted(raw, masking), target)
        if self.training:
            counted = count(target)
            self.count = counted if self.count is None else self.count + counted
        return Losses(loss, {"loss": loss.detach()})

    def masking(self, batch: Batch) -> Masking:
        raw = batch.views["image"]
        return draw(self.seed, batch.positions.to(raw.device), self.model.config.patches, self.masked)

    def targets(self, raw: RawImages, masking: Masking) -> Float[Tensor, "batch masked outputs"]:
        """The masked patches' pixels, channel by channel, as the model would get them."""
        pixels = self.normalize_patches(taken(cut(raw, self.model.config.patch), masking.masked)).flatten(2)
        return standardized(pixels) if self.settings.normalized else pixels

    def predicted(self, raw: RawImages, masking: Masking) -> Float[Tensor, "batch masked outputs"]:
        answers: Tensor = self.decoder(self.encoded(raw, masking.seen), *masking)
        return answers.float()

    def encoded(self, raw: RawImages, seen: Int[Tensor, "batch seen"]) -> Float[Tensor, "batch tokens width"]:
        """What the model says of the patches that it sees, its prefix in front. No others are ever computed: those that
        are seen stand side by side in a picture of their own, and keep their true places."""
        config = self.model.config
        patches = taken(cut(raw, config.patch), seen)
        strip: Images = self.normalize(joined(patches, (config.patch[0], seen.shape[1] * config.patch[1])))
        values = self.model.patchify(strip.to(self.decoder.mask.dtype)).values
        places = places_of(config.grid, raw.device)[seen]
        told: Tensor = self.norm(self.model.encode_tokens(Tokens(values, places, config.grid)))
        return told

    def normalize_patches(self, patches: UInt8[Tensor, "batch patches 3 height width_px"]) -> Tensor:
        return self.normalize(patches.flatten(0, 1)).unflatten(0, patches.shape[:2])

    def counted(self) -> Tensor | None:
        count, self.count = self.count, None
        return torch.zeros(0, dtype=torch.float64) if count is None else count.cpu()

    def constant_loss(self, counted: Tensor) -> float:
        """The variance of a pixel around its mean over all patches: of normalized pixels nearly 1, less where patches
        of one color, whose normalized pixels are 0, are many."""
        number, squares, sums = counted[0], counted[1], counted[2:]
        return max(float((squares / number - (sums / number).square().sum()) / len(sums)), 0.0)

    @torch.no_grad()
    def shown(self, batch: Batch) -> list[Shown]:
        """Masked patches are seen violet, and stand in the guess as the model guesses them, at the mean and deviation
        of the true ones where those are normalized away."""
        raw, masking = batch.views["image"], self.masking(batch)
        patches = cut(raw, self.model.config.patch)
        pixels = self.predicted(raw, masking)
        if self.settings.normalized:
            mean, deviation = moments(self.normalize_patches(taken(patches, masking.masked)).flatten(2))
            pixels = pixels * deviation + mean
        black, white = (self.normalize(raw.new_full((1, 3, 1, 1), level)) for level in (0, 255))
        guess = (pixels.unflatten(-1, patches.shape[2:]) - black) / (white - black) * 255
        index = masking.masked[..., None, None, None].expand_as(guess)
        violet = patches.new_tensor(HIDDEN)[:, None, None].expand_as(guess)
        size = (raw.shape[-2], raw.shape[-1])
        seen, guessed = (joined(patches.scatter(1, index, part), size).cpu() for part in (
            violet, guess.clamp(0, 255).round().to(torch.uint8)))
        return [Shown(*one) for one in zip(seen, guessed, raw.cpu(), strict=True)]


def moments(pixels: Float[Tensor, "batch patches pixels"]) -> tuple[Tensor, Tensor]:
    """Mean and deviation of each patch's pixels, of all channels together. The variance is the unbiased one, as in the
    published code."""
    mean = pixels.mean(-1, keepdim=True)
    # Not torch.var_mean: on a CPU it took 7 % of a small model's whole step (2026-11).
    variance = (pixels - mean).square().sum(-1, keepdim=True) / (pixels.shape[-1] - 1)
    return mean, (variance + LEAST_VARIANCE).sqrt()


def standardized(pixels: Float[Tensor, "batch patches pixels"]) -> Float[Tensor, "batch patches pixels"]:
    mean, deviation = moments(pixels)
    return (pixels - mean) / deviation


def count(target: Float[Tensor, "batch patches pixels"]) -> Float[Tensor, " numbers"]:
    """How many patches there are, the sum of all squares, and the sum of each pixel. Numbers of one image are added up
    in its own type first: twice the memory for all of them would be a lot."""
    squares = target.square().sum((1, 2)).double().sum()
    return torch.cat((squares.new_tensor([target.shape[0] * target.shape[1]]), squares[None],
                      target.sum(1).double().sum(0)))


def model_of_some_patches(model: nn.Module) -> ViT:
    if isinstance(model, AxialViT):
        raise UsageError(f"{model.config.name} cannot be trained by mae: its attention along rows and columns needs "
                         "every patch of the grid, and mae leaves most of them out. Use a ViT, such as --model Ti/4 or "
                         "B/16, or --objective masked-patch.")
    return patch_model(model)
