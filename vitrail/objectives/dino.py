"""Self-distillation between views (DINO, arXiv 2104.14294): say of one crop what a teacher says of another.

The teacher is the moving average of the student. It sees the two global crops, the student all of them; each answers
with a distribution over `prototypes`, and the student learns the teacher's answer to every other crop. That all crops
get the same answer is prevented by the teacher's low temperature, and by taking from its answers their running mean,
the center. As options, what DINOv2 adds (arXiv 2304.07193): KoLeo and iBOT's masked patches.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable
from typing import ClassVar

import torch
from jaxtyping import Bool, Float
from pydantic import BaseModel, ConfigDict, Field, PositiveFloat, PositiveInt, model_validator
from torch import Tensor, nn

from vitrail.errors import UsageError
from vitrail.models.families import Model, ModelConfig
from vitrail.models.vit.another_size import config_at_size
from vitrail.objectives.components import feature_pictures
from vitrail.objectives.contract import Losses, Objective
from vitrail.objectives.dino_head import Heads
from vitrail.objectives.ibot import IbotSettings, embed_with_patches, masks, patch_loss
from vitrail.objectives.koleo import KoLeoSettings, koleo
from vitrail.objectives.masked_patch import patch_model
from vitrail.vocabulary import Batch, Legend, Shown, Size

GLOBALS = 2


class DinoSettings(BaseModel):
    """`prototypes`, `hidden`, `bottleneck`: widths of the head. The teacher's temperature goes from the first to the
    second value over `temperature_warmup`, a share of the run; its momentum from `momentum` to 1 by a cosine. For the
    share `hold_prototypes` of the run the last layer does not learn."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    prototypes: int = Field(65536, ge=2)
    hidden: PositiveInt = 2048
    bottleneck: PositiveInt = 256
    student_temperature: PositiveFloat = 0.1
    teacher_temperature: tuple[PositiveFloat, PositiveFloat] = (0.04, 0.07)
    temperature_warmup: float = Field(0.3, ge=0, le=1)
    momentum: float = Field(0.996, ge=0, le=1)
    center_momentum: float = Field(0.9, ge=0, lt=1)
    hold_prototypes: float = Field(0.01, ge=0, lt=1)
    koleo: KoLeoSettings = KoLeoSettings()
    ibot: IbotSettings = IbotSettings()

    @model_validator(mode="after")
    def check_temperatures(self) -> DinoSettings:
        if max(self.teacher_temperature) >= self.student_temperature:
            raise ValueError(f"teacher_temperature {self.teacher_temperature} is not below student_temperature "
                             f"{self.student_temperature:g}: the teacher has to be the surer one, or all answers "
                             "become one")
        return self


class Network(nn.Module):
    """A model and its heads: what the teacher is."""

    def __init__(self, model: nn.Module, heads: Heads) -> None:
        super().__init__()
        self.model, self.heads = model, heads


class Dino(Objective):
    """Parts: `loss`; `view_loss`, the cross-entropy between crops; `teacher_entropy`, of each of the teacher's answers;
    `divergence`, how far the student's are from these: the cross-entropy less the entropy; `koleo_loss` and
    `patch_loss` where they are asked for."""

    views: ClassVar[tuple[str, ...]] = ("global", "local")
    compared: ClassVar[str] = "view_loss"
    passing: ClassVar[bool] = True
    legend: ClassVar[Legend] = Legend("features", "What it sees", (
        "A row for each image: the picture; the first three principal components of the teacher's features, as red, "
        "green and blue; and how alike they are to those of the place in the middle. Same colors mean the same in all "
        "rows."), ("image", "features", "like the middle"))

    def __init__(self, model: Model, normalize: Callable[[Tensor], Tensor], settings: DinoSettings | None = None,
                 seed: int = 0, *, local: int = 8, local_size: Size = (96, 96)) -> None:
        """`local`: how many local crops there are. Raises UsageError for a model that cannot see crops of their size,
        or has no patches to mask where that is asked for."""
        super().__init__()
        self.settings = settings or DinoSettings()
        self.normalize, self.seed, self.local, self.local_size = normalize, seed, local, local_size
        if local:
            refuse_local_size(model, local_size)
        self.model: Model = model
        self.masks_patches = self.settings.ibot.weight > 0
        self.heads = Heads(model.config.embedding, self.settings, self.patch_width(model))
        self.teacher = Network(copy.deepcopy(model), copy.deepcopy(self.heads)).requires_grad_(False).eval()
        self.mask = nn.Parameter(torch.zeros(self.patch_width(model))) if self.masks_patches else None
        self.centers = {name: torch.zeros(self.settings.prototypes) for name in self.answered}
        self.sums: dict[str, Tensor] = {}
        self.count: Tensor | None = None
        self.temperature = self.settings.teacher_temperature[0]

    def patch_width(self, model: Model) -> int:
        return patch_model(model).config.width if self.masks_patches else 0

    @property
    def answered(self) -> tuple[str, ...]:
        """What the teacher's answers are about, each with a center of its own."""
        return ("images", "patches") if self.masks_patches else ("images",)

    def words(self) -> str:
        settings, size = self.settings, f"{self.local_size[0]}x{self.local_size[1]}"
        crops = f"2 global crops and {self.local} local ones of {size} pixels" if self.local else "2 global crops"
        also = [f"{name} {option.weight:g}" for name, option in (("KoLeo", settings.koleo), ("iBOT", settings.ibot))
                if option.weight]
        return (f"dino: of each image {crops}; from each the model guesses what its own moving average, the teacher, "
                f"says of another: one of {settings.prototypes:,} prototypes{'; with ' if also else ''}"
                f"{' and '.join(also)}")

    def passes(self) -> list[tuple[float, ModelConfig]]:
        return [(self.images_each(), self.model.config)]

    def images_each(self) -> float:
        """As many images of the model's size all crops of one come to."""
        height, width = self.model.config.image_size
        return GLOBALS + self.local * self.local_size[0] * self.local_size[1] / (height * width)

    def macs(self) -> int:
        """Of the student on all crops, with a head for each crop and each hidden patch; the teacher, which has no
        backward pass, counts a third."""
        model, head = super().macs(), self.heads.images.macs()
        ibot = self.settings.ibot
        hidden = GLOBALS * ibot.images * sum(ibot.masked) / 2 * patch_model(self.model).config.patches if (
            self.masks_patches) else 0.0
        student = model * self.images_each() + head * (GLOBALS + self.local + hidden)
        return round(student + (GLOBALS * (model + head) + head * hidden) / 3)

    def losses(self, batch: Batch) -> Losses:
        """Averaged over images and over pairs of different crops."""
        images, hidden = self.pixels(batch, "global"), self.hidden(batch)
        targets, patch_targets = self.targets(images, hidden)
        features, patches = self.seen(self.model, images, hidden)
        logits = [self.heads.images(features).unflatten(0, (-1, GLOBALS))]
        if self.local:
            local = self.heads.images(self.model.embed(self.pixels(batch, "local")))
            logits.append(local.unflatten(0, (-1, self.local)))
        view_loss = between(targets, torch.cat(logits, 1) / self.settings.student_temperature)
        entropy = -torch.xlogy(targets, targets).sum(-1).mean()
        total = view_loss
        parts = {"view_loss": view_loss, "teacher_entropy": entropy, "divergence": view_loss - entropy}
        if self.settings.koleo.weight:
            crops = features.unflatten(0, (-1, GLOBALS)).unbind(1)
            parts["koleo_loss"] = torch.stack([koleo(one, batch.positions, self.settings.koleo.group)
                                               for one in crops]).sum()
            total = total + self.settings.koleo.weight * parts["koleo_loss"]
        if hidden is not None and patches is not None and patch_targets is not None:
            answers = self.heads.of_patches(patches[hidden]) / self.settings.student_temperature
            parts["patch_loss"] = patch_loss(patch_targets, answers, hidden)
            total = total + self.settings.ibot.weight * parts["patch_loss"]
        return Losses(total, {"loss": total.detach()} | {name: part.detach() for name, part in parts.items()})

    def pixels(self, batch: Batch, view: str) -> Float[Tensor, "crops channels height width_px"]:
        """All crops of all images, normalized, one after the other."""
        return self.normalize(batch.views[view].flatten(0, 1)).to(next(self.model.parameters()).dtype)

    def hidden(self, batch: Batch) -> Bool[Tensor, "crops patches"] | None:
        """Which patches of the global crops the student does not see."""
        if not self.masks_patches:
            return None
        model, positions = patch_model(self.model), batch.positions.to(batch.views["global"].device)
        return masks(self.settings.ibot, self.seed, positions, GLOBALS, model.config.patches).flatten(0, 1)

    def seen(self, network: nn.Module, images: Tensor, hidden: Tensor | None) -> tuple[Tensor, Tensor | None]:
        """Features of each image, and of its patches where they are asked for; the student's are hidden."""
        if hidden is None:
            embedding: Tensor = network.embed(images)  # type: ignore[operator]
            return embedding, None
        return embed_with_patches(patch_model(network), images, hidden if network is self.model else None, self.mask)

    @torch.no_grad()
    def targets(self, images: Tensor, hidden: Tensor | None) -> tuple[Tensor, Tensor | None]:
        """The teacher's answers to the global crops, [batch, 2, prototypes], and to patches that are hidden from the
        student. Its center is that of the steps before, so that the parts of a batch do not matter."""
        features, patches = self.seen(self.teacher.model, images, hidden)
        answers = {"images": self.teacher.heads.images(features)}
        if hidden is not None and patches is not None:
            answers["patches"] = self.teacher.heads.of_patches(patches[hidden])
        targets = {name: ((logits - self.centers[name]) / self.temperature).softmax(-1)
                   for name, logits in answers.items()}
        if self.training:
            self.add_up(answers, targets["images"])
        return targets["images"].unflatten(0, (-1, GLOBALS)), targets.get("patches")

    def add_up(self, answers: dict[str, Tensor], targets: Tensor) -> None:
        """For the next centers: sums and how many they are of. And how often each prototype is the answer."""
        for name, logits in answers.items():
            added = torch.cat((logits.double().sum(0), logits.new_tensor([len(logits)], dtype=torch.float64)))
            self.sums[name] = self.sums[name] + added if name in self.sums else added
        counted = targets.double().sum(0)
        self.count = counted if self.count is None else self.count + counted

    # What happens between steps.

    def begin_step(self, progress: float) -> None:
        settings, (cold, warm) = self.settings, self.settings.teacher_temperature
        share = min(1.0, progress / settings.temperature_warmup) if settings.temperature_warmup else 1.0
        self.temperature = cold + (warm - cold) * share
        self.held = self.heads.last_layers() if progress < settings.hold_prototypes else frozenset()
        self.sums = {}

    @torch.no_grad()
    def end_step(self, total: Callable[[Tensor], Tensor]) -> None:
        for name in self.answered:
            summed = total(self.sums[name])
            if summed[-1] > 0:
                mean = (summed[:-1] / summed[-1]).float()
                self.centers[name].lerp_(mean, 1 - self.settings.center_momentum)
        self.sums = {}

    def follower(self) -> nn.Module:
        return self.teacher

    def kept(self, progress: float) -> float:
        return 1 - (1 - self.settings.momentum) * (1 + math.cos(math.pi * min(progress, 1.0))) / 2

    def memory(self) -> dict[str, Tensor]:
        return {f"center.{name}": center for name, center in self.centers.items()}

    def train(self, mode: bool = True) -> Dino:
        """The teacher drops nothing out."""
        super().train(mode)
        self.teacher.eval()
        return self

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Dino:
        """Centers go to the device of the parameters, and stay in fp32."""
        super()._apply(fn, recurse)
        device = next(self.parameters()).device
        self.centers = {name: center.to(device) for name, center in self.centers.items()}
        return self

    # What is told of it.

    def counted(self) -> Tensor | None:
        count, self.count = self.count, None
        return torch.zeros(0, dtype=torch.float64) if count is None else count.cpu()

    def constant_loss(self, counted: Tensor) -> float:
        """The entropy of how often each prototype is the teacher's answer."""
        shares = counted / counted.sum()
        return abs(float(torch.xlogy(shares, shares).sum()))

    def even_loss(self) -> float | None:
        """Of a student to which all prototypes are alike: ln(prototypes) for crops, and for hidden patches where those
        are guessed. KoLeo is no guess, so beside it there is none."""
        settings = self.settings
        return None if settings.koleo.weight else (1 + settings.ibot.weight) * math.log(settings.prototypes)

    def standstill(self, constant: float, gone: float, alike: bool) -> str:
        advice = "Use a lower learning rate or a larger batch"
        if alike:
            return (f"the teacher has collapsed: it gives all images the same prototype. {advice}, or let its center "
                    "follow faster (--set objective.dino.center_momentum=0.8).")
        even = constant > 0.99 * math.log(self.settings.prototypes)
        why = "the teacher's answers are spread evenly over all prototypes" if even else (
            "the student's answers do not hang on the image")
        return (f"nothing is learned from the images so far: {why} (loss {(1 - gone) * constant:.3f}, of one answer "
                f"for all {constant:.3f}). {advice}, a lower temperature of the teacher "
                "(--set objective.dino.teacher_temperature=[0.03,0.04]), fewer prototypes, or a longer run.")

    @torch.no_grad()
    def shown(self, batch: Batch) -> list[Shown]:
        raw, network = batch.views["image"], self.teacher.model
        images = self.normalize(raw).to(next(network.parameters()).dtype)
        features: Tensor = network.feature_map(images)  # type: ignore[operator]
        return feature_pictures(raw.cpu(), features.float().cpu())


def between(targets: Float[Tensor, "batch 2 prototypes"],
            logits: Float[Tensor, "batch crops prototypes"]) -> Float[Tensor, ""]:
    """Cross-entropy of each crop's answer with the teacher's to every other crop; the first two are the teacher's."""
    apart = -torch.einsum("btp,bcp->btc", targets, logits.log_softmax(-1))
    others = 1 - torch.eye(targets.shape[1], logits.shape[1], device=logits.device)
    return (apart * others).sum() / (others.sum() * len(logits))


def refuse_local_size(model: Model, size: Size) -> None:
    try:
        config_at_size(model.config, size)
    except UsageError as error:
        raise UsageError(f"augmentation.multi_crop.local_size: {error}") from None
