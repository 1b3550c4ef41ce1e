"""What stands ready while a run goes, and the Bundle that comes of it."""

from __future__ import annotations

import platform
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from vitrail import __version__
from vitrail.bundle import Bundle
from vitrail.data.loader import Loader
from vitrail.data.mix import mixed
from vitrail.data.source import Source
from vitrail.events import FeaturesMeasured
from vitrail.models import Model, ModelConfig
from vitrail.models.families import build_with
from vitrail.models.vit.another_size import describe_change
from vitrail.objectives import Activation, Objective
from vitrail.recipe import Recipe
from vitrail.training.adapters import merged
from vitrail.training.average import Average
from vitrail.training.backend import Backend
from vitrail.training.collapse import Collapse
from vitrail.training.guard import Interrupts
from vitrail.training.parallel import SOLO, World
from vitrail.training.precision import DTYPES, Weights
from vitrail.vocabulary import Batch, Progress
from vitrail.workshop.decoding import decoder_of
from vitrail.workshop.probing import Probe
from vitrail.workshop.teaching import teacher_words

Watch = Callable[[str, Progress], None]
"""Called in the middle of a pass over a split: its name, and how far the pass is."""


@dataclass
class Workshop:
    """Everything that stands ready when a run begins.

    `learner`: what is called in training, the objective or what averages its gradients over the `world`'s processes.
    `micro_batches`: parts that this process cuts its part of a batch into.
    """

    recipe: Recipe
    source: Source
    folder: Path
    objective: Objective
    learner: nn.Module
    model: Model
    config: ModelConfig
    loader: Loader
    weights: Weights
    optimizer: torch.optim.Optimizer
    backend: Backend
    interrupts: Interrupts
    watch: Watch
    total_steps: int | None
    step_seconds: float = 0.0
    peak_bytes: int | None = None
    micro_batches: int = 1
    step: int = 0
    seconds: float = 0.0
    best: float | None = None
    best_step: int | None = None
    average: Average | None = None
    world: World = SOLO
    collapse: Collapse = field(default_factory=Collapse)
    notes: list[str] = field(default_factory=list)
    probe: Probe | None = None
    probed: FeaturesMeasured | None = None

    @property
    def batch_size(self) -> int:
        return self.recipe.training.batch_size

    @property
    def share(self) -> int:
        """Images of a batch that this process computes."""
        return self.batch_size // self.world.size

    def heed(self) -> None:
        """A signal that one process got is now one for all (collective)."""
        signal, = self.world.largest(self.interrupts.received or 0)
        self.interrupts.signal = self.interrupts.signal or int(signal) or None

    @property
    def samples(self) -> int:
        return self.step * self.batch_size

    @property
    def progress(self) -> float:
        """Fraction of the run that lies behind, by steps or by time."""
        if self.total_steps is not None:
            return self.step / self.total_steps
        return self.seconds / (self.recipe.schedule.seconds or 1.0)

    @property
    def validation(self) -> str | None:
        return "val" if "val" in self.source.splits else None

    @property
    def device(self) -> torch.device:
        return self.world.device

    def view(self) -> Bundle:
        """The model as it is now, or its average where there is one, for a look during training (collective)."""
        model = self.model
        if self.average is not None or self.weights.sharded:
            dtype = DTYPES[self.backend.precision]
            model = build_with(self.config, trained_state(self)).to(self.device, dtype)
        return Bundle(model, self.recipe.preprocess, self.classes, self.activation)

    @property
    def activation(self) -> Activation:
        return self.objective.activation

    @property
    def classes(self) -> tuple[str, ...] | None:
        """What the model's answers are; None where it has no head."""
        return self.source.classes if self.objective.labeled else None


def prepared(shop: Workshop, batch: Batch) -> Batch:
    """A batch of the loader as the objective gets it: on the device, and mixed where the recipe says so."""
    recipe = shop.recipe
    return mixed(to_device(batch, shop.device), recipe.augmentation, classes=len(shop.source.classes),
                 seed=recipe.seed, batch_size=shop.batch_size)


def to_device(batch: Batch, device: torch.device) -> Batch:
    """From memory that the system does not move, so that a GPU copies while the processor goes on."""
    if device.type == "cpu":
        return batch
    views = {name: view.pin_memory().to(device, non_blocking=True) for name, view in batch.views.items()}
    return Batch(views, batch.targets.pin_memory().to(device, non_blocking=True), batch.indices, batch.positions)


def start_words(shop: Workshop) -> str | None:
    """From which weights the run starts, and what becomes of them: the head, and what another size asks for."""
    settings = shop.recipe.model
    if settings.weights is None:
        return None
    head = "its head is kept" if settings.head == "keep" else "its whole head goes" + (
        f", zeros for {len(shop.classes)} classes come" if shop.classes else "")
    sizes = {"image_size": settings.weights.image_size} | (
        {"patch": settings.weights.patch} if settings.weights.patch else {})
    changes = describe_change(shop.config.model_copy(update=sizes), shop.config)
    return f"{settings.weights.path} ({settings.weights.format}): {'; '.join([head, *changes])}"


def trained_state(shop: Workshop) -> dict[str, Tensor]:
    """The plain model's weights in fp32: the average where there is one, corrections merged (collective)."""
    state = shop.weights.export(shop.model, None if shop.average is None else shop.average.values)
    return merged(state, shop.recipe.training.adapters.scale)


def circumstances(shop: Workshop) -> dict[str, Any]:
    """In what a run computes, for its journal and its Bundle."""
    return {"vitrail": __version__, "torch": torch.__version__, "machine": machine_name(shop.device),
            "backend": shop.backend._asdict(), "threads": torch.get_num_threads(), "processes": shop.world.size}


def machine_name(device: torch.device, table: Path = Path("/proc/cpuinfo")) -> str:
    """The GPU's name, or the processor's where the system says it."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    lines = table.read_text().splitlines() if table.exists() else []
    return next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")),
                platform.processor() or platform.machine())


def trained_bundle(shop: Workshop) -> Bundle:
    """What was learned as a Bundle with its history (collective)."""
    model = build_with(shop.config, trained_state(shop))
    provenance = {
        **circumstances(shop), "created": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "step": shop.step, "samples": shop.samples, "seconds": round(shop.seconds, 1),
        "source": {"spec": shop.source.spec, "kind": shop.source.kind, "fingerprint": shop.source.fingerprint},
        "recipe": shop.recipe.model_dump(mode="json"),
        **({"started": start_words(shop)} if shop.recipe.model.weights else {}),
        **({"teacher": teacher_words(shop.recipe, shop.objective)} if shop.recipe.objective.teacher else {}),
        "unreadable": dict(list(shop.loader.bad.items())[:100]),
    }
    return Bundle(model.eval().requires_grad_(False), shop.recipe.preprocess, shop.classes, shop.activation, provenance,
                  decoder_of(shop.objective, shop.weights, shop.average))
