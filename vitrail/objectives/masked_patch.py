"""Masked patch prediction (2010.11929, appendix B.1.2): guess patches whose embeddings were corrupted.

Of the patch embeddings, before positions are added, one half is corrupted: 80 % of these become a learned mask, 10 %
the embedding of another patch of the same image, 10 % stay as they are. Every corrupted one is to be guessed, also
those that stayed.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import ClassVar, NamedTuple

import torch
from jaxtyping import Float, Int
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor, nn

from vitrail.errors import UsageError
from vitrail.models import Hybrid, ViT
from vitrail.objectives.chance import uniform
from vitrail.objectives.contract import Losses, Objective
from vitrail.objectives.patch_targets import TARGETS, Target, TargetName, cut, joined
from vitrail.vocabulary import Batch, RawImages, Shown, Tokens

MASKED, OTHER, KEPT = 0, 1, 2
SHARES = (0.8, 0.9)
"""Of the corrupted patches: up to here they are masked, up to here another one, and the rest is kept."""

HIDDEN = (72, 34, 122)
"""The color of a masked patch in pictures: violet, since many pictures have grey parts."""


class MaskedPatchSettings(BaseModel):
    """`corrupted`: share of the patches; 0.15, BERT's, did slightly worse in the paper."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    target: TargetName = "mean-color"
    corrupted: float = Field(0.5, gt=0, lt=1)


class Corruption(NamedTuple):
    """Which patches of each image are corrupted, in reading order; how (MASKED, OTHER, KEPT); and the other patch that
    would take its place."""

    places: Int[Tensor, "batch corrupted"]
    kinds: Int[Tensor, "batch corrupted"]
    others: Int[Tensor, "batch corrupted"]


def draw(seed: int, positions: Int[Tensor, " batch"], patches: int, corrupted: int) -> Corruption:
    """`corrupted` of the `patches` of each image, each patch as likely. The same number in all, so that an image counts
    the same in any part of a batch."""
    order, kind, other = uniform(seed, positions, 3 * patches).unflatten(1, (3, patches)).unbind(1)
    places = order.argsort(dim=1, stable=True)[:, :corrupted].sort(dim=1).values
    kinds = torch.bucketize(kind.gather(1, places), kind.new_tensor(SHARES), right=True)
    steps = 1 + (other.gather(1, places) * (patches - 1)).long()
    return Corruption(places, kinds, (places + steps) % patches)


def corrupt(values: Float[Tensor, "batch patches width"], mask: Float[Tensor, " width"],
            corruption: Corruption) -> Float[Tensor, "batch patches width"]:
    places, kinds, others = (part[..., None] for part in corruption)
    width = values.shape[-1]
    own, other = (values.gather(1, at.expand(-1, -1, width)) for at in (places, others))
    instead = torch.where(kinds == MASKED, mask, torch.where(kinds == OTHER, other, own))
    return values.scatter(1, places.expand(-1, -1, width), instead)


class MaskedPatch(Objective):
    """Parts: `loss`, averaged over corrupted patches (cross-entropy, or the mean squared error of `pixels`), and
    `right`, the share of colors that are guessed."""

    labeled: ClassVar[bool] = False

    def __init__(self, model: nn.Module, normalize: Callable[[Tensor], Tensor],
                 settings: MaskedPatchSettings | None = None, seed: int = 0) -> None:
        """Raises UsageError for a model that does not see patches apart from one another, or has too few."""
        super().__init__()
        self.settings = settings or MaskedPatchSettings()
        self.model: ViT = patch_model(model)
        config = self.model.config
        self.corrupted = corrupted_patches(self.settings.corrupted, config.patches)
        self.normalize, self.seed = normalize, seed
        self.target: Target = TARGETS[self.settings.target](config.patch)
        self.mask = nn.Parameter(torch.empty(config.width))
        self.norm = nn.Identity() if config.norm_at == "tokens" else nn.LayerNorm(config.width, eps=config.norm_eps)
        self.prediction = nn.Linear(config.width, self.target.outputs)
        for part in (self.model.pool, self.model.pool_norm, self.model.hidden, self.model.projection, self.model.head):
            part.requires_grad_(False)  # nothing of them is asked
        nn.init.normal_(self.mask, std=0.02)
        nn.init.trunc_normal_(self.prediction.weight, std=0.02)
        nn.init.zeros_(self.prediction.bias)
        self.count: Tensor | None = None

    def words(self) -> str:
        what = {"mean-color": "its mean color (one of 512)", "pixels": "its pixels",
                "downsized": "its colors at 4x4 (16 answers, one of 512 each)"}[self.settings.target]
        return (f"masked-patch: of each image's {self.model.config.patches} patches {self.corrupted} are corrupted; of "
                f"each of these the model guesses {what}")

    def macs(self) -> int:
        return super().macs() + self.corrupted * self.prediction.in_features * self.prediction.out_features

    def losses(self, batch: Batch) -> Losses:
        raw = batch.views["image"]
        corruption = self.corruption(batch)
        target = self.targets(raw, corruption)
        parts = self.target.loss(self.predicted(raw, corruption), target)
        if self.training:
            counted = self.target.counted(target)
            self.count = counted if self.count is None else self.count + counted
        return Losses(parts["loss"], {name: value.detach() for name, value in parts.items()})

    def corruption(self, batch: Batch) -> Corruption:
        raw = batch.views["image"]
        return draw(self.seed, batch.positions.to(raw.device), self.model.config.patches, self.corrupted)

    def targets(self, raw: RawImages, corruption: Corruption) -> Tensor:
        return self.target.of(taken(cut(raw, self.model.config.patch), corruption.places))

    def predicted(self, raw: RawImages, corruption: Corruption) -> Float[Tensor, "batch corrupted outputs"]:
        images = self.normalize(raw).to(self.mask.dtype)
        tokens = self.model.patchify(images)
        values = corrupt(tokens.values, self.mask, corruption)
        seen = self.model.encode_tokens(Tokens(values, tokens.places, tokens.grid))[:, self.model.config.prefix :]
        answers: Tensor = self.prediction(self.norm(taken(seen, corruption.places)))
        return answers.float()

    def counted(self) -> Tensor | None:
        count, self.count = self.count, None
        return torch.zeros(0, dtype=torch.float64) if count is None else count.cpu()

    def constant_loss(self, counted: Tensor) -> float:
        return self.target.constant_loss(counted)

    @torch.no_grad()
    def shown(self, batch: Batch) -> list[Shown]:
        """Masked patches are seen violet, others as what took their place; corrupted ones stand in the colors of the
        guess, and of the target."""
        raw, corruption = batch.views["image"], self.corruption(batch)
        patches = cut(raw, self.model.config.patch)
        kinds = corruption.kinds[..., None, None, None]
        seen = torch.where(kinds == MASKED, patches.new_tensor(HIDDEN)[:, None, None], taken(patches, torch.where(
            corruption.kinds == OTHER, corruption.others, corruption.places)))
        guess = self.target.painted(self.target.answer(self.predicted(raw, corruption)))
        truth = self.target.painted(self.targets(raw, corruption))
        index = corruption.places[..., None, None, None].expand_as(seen)
        size = (raw.shape[-2], raw.shape[-1])
        return [Shown(*one) for one in zip(*(joined(patches.scatter(1, index, part), size).cpu() for part in (
            seen, guess, truth)), strict=True)]


def taken(values: Tensor, places: Int[Tensor, "batch some"]) -> Tensor:
    """Some of the patches of each image, [batch, some, ...]."""
    index = places.reshape(*places.shape, *[1] * (values.dim() - 2)).expand(-1, -1, *values.shape[2:])
    return values.gather(1, index)


def patch_model(model: nn.Module) -> ViT:
    if not isinstance(model, ViT) or isinstance(model, Hybrid):
        name = getattr(getattr(model, "config", None), "name", type(model).__name__)
        raise UsageError(f"{name} cannot guess masked patches: its convolutions see beyond a patch, so nothing of it "
                         "would be hidden. Use a ViT, such as --model Ti/4 or B/16.")
    return model


def corrupted_patches(share: float, patches: int) -> int:
    """How many of them, at least one and not all."""
    if patches < 2:
        raise UsageError("Masked patches are guessed from the others, but the model sees its images as a single patch. "
                         "Use smaller patches or larger images.")
    return min(max(1, round(share * patches)), patches - 1)
