"""What stands ready when a run begins: model, objective, optimizer, loader, backend, and how far the run is."""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path

import torch
from torch import Tensor

from vitrail import __version__, weights
from vitrail.bundle import Bundle
from vitrail.data.loader import Loader
from vitrail.data.mix import mixed
from vitrail.data.remembered import remember
from vitrail.data.source import Source
from vitrail.data.views import TrainView
from vitrail.errors import DataError, RunError, UsageError
from vitrail.models import AxialResNetConfig, BiTConfig, HybridConfig, Model, ModelConfig, ViT, build, describe
from vitrail.models.families import build_with
from vitrail.models.vit.another_size import describe_change
from vitrail.objectives import OBJECTIVES, Classify, Loss
from vitrail.recipe import Recipe, WeightsSettings
from vitrail.training.adapters import adapt, merged
from vitrail.training.average import Average
from vitrail.training.checkpoint import State, load_checkpoint, newest_checkpoint, read_state
from vitrail.training.forecast import (
    free_bytes,
    is_out_of_memory,
    moment_bytes,
    parts_that_fit,
    peak_bytes,
    synchronize,
    update_seconds,
)
from vitrail.training.freeze import freeze
from vitrail.training.guard import Interrupts
from vitrail.training.loop import backward, cut, hash_seed
from vitrail.training.optimizer import build_optimizer, kernel_names
from vitrail.training.precision import (
    Backend,
    Weights,
    choose_axial_backend,
    choose_backend,
    choose_convolution_backend,
    set_attention_kernel,
)
from vitrail.training.range_test import in_words, range_test
from vitrail.training.start import start
from vitrail.vocabulary import Batch, Progress, Size

LONG_STEP = 1.0
"""Seconds of a step so large that more threads always pay, and a second measurement does not."""

BUSY = 1.3
"""How much faster half of the threads have to be: on a quiet machine they never are."""

ROOM = 0.8
"""Share of the free memory that a forecast may fill: kernels have scratch memory of their own."""

Watch = Callable[[str, Progress], None]
"""Called in the middle of a pass over a split: its name, and how far the pass is."""


@dataclass
class Workshop:
    """Everything that stands ready when a run begins."""

    recipe: Recipe
    source: Source
    folder: Path
    objective: Classify
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
    notes: list[str] = field(default_factory=list)

    @property
    def batch_size(self) -> int:
        return self.recipe.training.batch_size

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
        return next(self.objective.parameters()).device

    def view(self) -> Bundle:
        """The model as it is now, or its average where there is one, for a look during training."""
        model = self.model
        if self.average is not None:
            dtype = next(self.model.parameters()).dtype
            model = build_with(self.config, trained_state(self)).to(self.device, dtype)
        return Bundle(model, self.recipe.preprocess, self.source.classes, self.activation)

    @property
    def activation(self) -> Loss:
        return self.objective.loss


def set_up(recipe: Recipe, source: Source, folder: Path, interrupts: Interrupts, watch: Watch,
           resume: bool, allow_data_change: bool = False) -> Workshop:
    """Model, objective, optimizer, loader and backend, as they were where a run goes on."""
    checkpoint, troubles = newest_checkpoint(folder / "checkpoints") if resume else (None, [])
    state = read_state(checkpoint) if checkpoint else None
    if state is not None and checkpoint is not None and state.recipe != recipe.identity():
        raise RunError(f"{checkpoint} belongs to a run with another recipe. Resume with the recipe of that run, "
                       "or choose another --out.")
    if state is not None:
        troubles += changed_data(state, source, allow_data_change)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    config = recipe.model.configure(len(source.classes), recipe.preprocess.size)
    backend = state.backend if state else backend_for(recipe, config, device)
    model = first_model(recipe, config, source, going_on=state is not None)
    choose_what_learns(model, recipe)
    objective = build_objective(recipe, model, source).to(device)
    set_attention_kernel(objective, backend.attention)
    kernels = kernel_names(objective)
    masters = Weights(objective, backend.precision)
    optimizer = build_optimizer(recipe.optimizer, masters.named_masters(), kernels)
    train_split = source.splits["train"]
    loader = Loader(remember(train_split, recipe.preprocess), TrainView(recipe.preprocess, recipe.augmentation),
                    recipe.training.batch_size, seed=recipe.seed, workers=recipe.data.workers,
                    max_bad=recipe.data.max_bad)
    shop = Workshop(recipe, source, folder, objective, model, config, loader, masters, optimizer, backend, interrupts,
                    watch, recipe.schedule.total_steps(len(train_split), recipe.training.batch_size), notes=troubles)
    if recipe.training.average is not None:
        shop.average = Average(masters, recipe.training.average)
    if state is not None and checkpoint is not None:
        load_checkpoint(checkpoint, masters, optimizer, shop.average)
        shop.step, shop.seconds = state.step, state.seconds
        shop.best, shop.best_step = state.best, state.best_step
        shop.notes.append(f"going on after step {state.step:,}, from {checkpoint.name}")
    # The one place where the ranks of a world agree on a number of parts.
    shop.micro_batches = parts_for_memory(shop, max(recipe.training.micro_batches, state.micro_batches if state else 1))
    settle_threads(shop, state.threads if state else None)
    return shop


def parts_for_memory(shop: Workshop, least: int) -> int:
    """Parts of a batch of which one fits into memory, at least `least`; a note says where that is more.

    A GPU is asked by trying. A CPU's memory must not be tried, since the system kills whoever takes too much: there it
    is forecast from the configuration.
    """
    if shop.interrupts:
        return least
    fits = (lambda parts: one_part_runs(shop, parts)) if shop.device.type == "cuda" else (
        lambda parts: forecast_fits(shop, parts))
    parts = parts_that_fit(least, shop.batch_size, fits)
    if parts > least:
        shop.notes.append(f"a batch of {shop.batch_size} does not fit into memory in {least} parts: it is computed in "
                          f"{parts}, whose gradients add up to the same")
    return parts


def forecast_fits(shop: Workshop, parts: int) -> bool:
    """True where activations, gradients and moments stay within what may still be taken, or where that is unknown."""
    free = free_bytes(shop.device)
    images = -(-shop.batch_size // parts)
    wider = 1 if shop.weights.separate else 2  # the accounting is in 2-byte numbers
    activations = wider * describe(shop.config).activation_bytes * images
    gradients = sum(4 * master.numel() for master in shop.weights.masters)
    moments = moment_bytes(shop.recipe.optimizer, shop.weights)
    return free is None or activations + gradients + moments < ROOM * free


def one_part_runs(shop: Workshop, parts: int) -> bool:
    """Try the largest part of a batch, with the moments' memory taken."""
    with closing(shop.loader.batches(shop.samples)) as stream:
        micro = next(cut(prepared(shop, next(stream)), parts))
    try:
        held = torch.empty(moment_bytes(shop.recipe.optimizer, shop.weights), dtype=torch.uint8, device=shop.device)
        backward(shop.objective, micro, shop.weights, 1, (0, 0))
        del held
    except RuntimeError as error:
        if not is_out_of_memory(error):
            raise
        return False
    finally:
        shop.weights.clear_gradients()
        if shop.device.type == "cuda":
            torch.cuda.empty_cache()
    return True


def changed_data(state: State, source: Source, allowed: bool) -> list[str]:
    """What to say where the data are not those of the checkpoint. Raises DataError where that is not `allowed`.

    Other classes are never allowed: the outputs of the model would get other names.
    """
    if not state.data or state.data == source.fingerprint:
        return []
    if state.classes != source.classes:
        raise DataError(f"{source.spec} has other classes than when this run began ({len(state.classes)} then, "
                        f"{len(source.classes)} now, or in another order). Bring the old data back, or start a new "
                        "run.")
    if not allowed:
        raise DataError(f"{source.spec} is not what it was when this run began: pictures, labels or splits were "
                        "added, removed or changed. Bring the old data back, start a new run, or go on with the new "
                        "data by --allow-data-change; pictures may then be held out now that were trained on before.")
    return [f"the data of {source.spec} changed since this run began; pictures that are held out now may have been "
            "trained on before"]


def first_model(recipe: Recipe, config: ModelConfig, source: Source, *, going_on: bool) -> Model:
    """Drawn afresh, or made of trained weights. A run that goes on finds its own in its checkpoint, but for those that
    do not learn."""
    torch.manual_seed(hash_seed(recipe.seed))
    everything_learns = not (recipe.training.freeze or recipe.training.adapters.rank)
    if recipe.model.weights is None or (going_on and everything_learns):
        return build(config)
    return start(trained_weights(recipe.model.weights, recipe, config), config, source.classes,
                 loss_of(recipe, source), recipe.model.head)


def choose_what_learns(model: Model, recipe: Recipe) -> None:
    """Freeze parts or put corrections beside them, and recompute blocks, as the recipe says."""
    training = recipe.training
    if training.freeze:
        freeze(model, training.freeze)
    if training.adapters.rank:
        adapt(model, training.adapters)
    if training.recompute:
        if not isinstance(model, ViT):
            raise UsageError(f"training.recompute is for blocks of a transformer; {model.config.name} has none.")
        model.encoder.recompute = True


def trained_weights(given: WeightsSettings, recipe: Recipe, config: ModelConfig) -> Bundle:
    """What the recipe starts from, at the run's sizes. Raises RunError where it is not the same file any more."""
    size, patch = recipe.preprocess.size, getattr(config, "patch", None)
    if weights.read(given.path, weights.Told(size)).sha256() != given.sha256:
        raise RunError(f"{given.path} is not the file that this recipe starts from: its SHA-256 is another. Start from "
                       "it by --weights, or say where the right one is: --set model.weights.path=FILE.")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # an empty head is no loss here
        return weights.load(given.path, size, patch=patch)


def start_words(shop: Workshop) -> str | None:
    """From which weights the run starts, and what becomes of them: the head, and what another size asks for."""
    settings = shop.recipe.model
    if settings.weights is None:
        return None
    head = "its head is kept" if settings.head == "keep" else (
        f"its whole head goes, zeros for {len(shop.source.classes)} classes come")
    sizes = {"image_size": settings.weights.image_size} | (
        {"patch": settings.weights.patch} if settings.weights.patch else {})
    changes = describe_change(shop.config.model_copy(update=sizes), shop.config)
    return f"{settings.weights.path} ({settings.weights.format}): {'; '.join([head, *changes])}"


def settle_threads(shop: Workshop, recorded: int | None) -> None:
    """Decide how many threads compute, and time a step. A run that goes on keeps the number of its checkpoint.

    Beside another busy process all threads wait for the slowest one at every operation, and half of them are faster.
    """
    available = torch.get_num_threads()
    torch.set_num_threads(min(recorded or available, available))
    shop.step_seconds = time_steps(shop)
    if recorded or shop.device.type != "cpu" or available == 1 or shop.step_seconds > LONG_STEP:
        return
    torch.set_num_threads(available // 2)
    halved = time_steps(shop)
    if BUSY * halved < shop.step_seconds:
        shop.notes.append(f"computing with {available // 2} of {available} threads: the machine is busy with something "
                          "else, and they are faster")
        shop.step_seconds = halved
    else:
        torch.set_num_threads(available)


def loss_of(recipe: Recipe, source: Source) -> Loss:
    loss = recipe.objective.loss
    if loss == "auto":
        return "sigmoid" if source.multilabel else "softmax"
    if loss == "softmax" and source.multilabel:
        raise UsageError(f"{source.spec} has several labels an image, which a softmax cannot learn. "
                         "Use --set objective.loss=sigmoid.")
    return loss


def build_objective(recipe: Recipe, model: Model, source: Source) -> Classify:
    return OBJECTIVES[recipe.objective.name](model, recipe.preprocess.normalize, loss=loss_of(recipe, source),
                                             label_smoothing=recipe.objective.label_smoothing,
                                             multilabel=source.multilabel)


def backend_for(recipe: Recipe, config: ModelConfig, device: torch.device) -> Backend:
    batch = -(-recipe.training.batch_size // recipe.training.micro_batches)
    precision = None if recipe.training.precision == "auto" else recipe.training.precision
    if isinstance(config, AxialResNetConfig):
        channels, size = config.at(min(1, len(config.depths) - 1), stride=1)
        return choose_axial_backend(device, style=config.style, channels=channels, heads=config.heads, size=size,
                                    batch=batch, precision=precision)
    if isinstance(config, BiTConfig):
        return choose_convolution_backend(device, channels=2 * config.root, size=second_stage(config), batch=batch,
                                          precision=precision)
    words = []
    if isinstance(config, HybridConfig) and precision is None and mostly_convolutions(config):
        precision, _, reason = choose_convolution_backend(device, channels=2 * config.stem_root,
                                                          size=second_stage(config), batch=batch)
        words = [reason]
    span = max(config.spans)
    backend = choose_backend(device, rows=batch * config.tokens, width=config.width, mlp=config.mlp,
                             batch=batch * (config.tokens // span), heads=config.heads, tokens=span,
                             precision=precision)
    return backend._replace(reason="; ".join([*words, backend.reason]))


def mostly_convolutions(config: HybridConfig) -> bool:
    """True where the ResNet in front costs more than the transformer behind it."""
    return describe(config).macs > 2 * describe(config.on_features).macs


def second_stage(config: ModelConfig) -> Size:
    """Rows and columns of a ResNet's second stage: neither its largest maps nor its smallest."""
    return -(-config.image_size[0] // 8), -(-config.image_size[1] // 8)


def time_steps(shop: Workshop, repeats: int = 2) -> float:
    """Seconds of one step, from gradients that are thrown away: the run has not begun and nothing moves.

    Its pictures come out of the loader, whose threads share the processor as they will in training.
    """
    taken: list[float] = []
    update = 0.0
    with closing(shop.loader.batches(shop.samples)) as stream:
        while len(taken) <= repeats and not shop.interrupts:
            start = time.perf_counter()
            backward(shop.objective, prepared(shop, next(stream)), shop.weights, shop.micro_batches, (0, 0))
            synchronize(shop.device)
            taken.append(time.perf_counter() - start)
            if len(taken) > repeats:
                shop.peak_bytes = peak_so_far(shop)
                update = update_seconds(shop.recipe.optimizer, shop.weights, kernel_names(shop.objective),
                                        shop.average is not None)
            shop.weights.clear_gradients()
    return min(taken[1:] or taken) + update if taken else 0.0


def peak_so_far(shop: Workshop) -> int | None:
    """What a step will hold: the most until now, and the optimizer's moments where they are still to come."""
    peak = peak_bytes(shop.device)
    if peak is None or shop.optimizer.state:
        return peak
    return peak + moment_bytes(shop.recipe.optimizer, shop.weights)


def find_learning_rate(shop: Workshop) -> None:
    """Run a range test, and put what it found into the recipe with what it saw."""
    settings = shop.recipe.optimizer
    with closing(shop.loader.batches()) as batches:
        seen = range_test(shop.objective.train(), (prepared(shop, batch) for batch in batches), shop.weights, settings,
                          micro_batches=shop.micro_batches, seed=shop.recipe.seed)
    recipe = shop.recipe.replaced({"optimizer.learning_rate": seen.rate})
    shop.recipe = recipe.model_copy(update={"reasons": recipe.reasons | {"optimizer": in_words(seen, settings)}})


def prepared(shop: Workshop, batch: Batch) -> Batch:
    """A batch of the loader as the objective gets it: on the device, and mixed where the recipe says so."""
    recipe = shop.recipe
    return mixed(to_device(batch, shop.device), recipe.augmentation, classes=len(shop.source.classes),
                 seed=recipe.seed, batch_size=shop.batch_size)


def to_device(batch: Batch, device: torch.device) -> Batch:
    if device.type == "cpu":
        return batch
    views = {name: view.to(device, non_blocking=True) for name, view in batch.views.items()}
    return Batch(views, batch.targets.to(device, non_blocking=True), batch.indices, batch.positions)


def trained_state(shop: Workshop) -> dict[str, Tensor]:
    """The plain model's weights in fp32: the average where there is one, corrections merged."""
    state = shop.weights.export(shop.model, None if shop.average is None else shop.average.values)
    return merged(state, shop.recipe.training.adapters.scale)


def trained_bundle(shop: Workshop) -> Bundle:
    """What was learned as a Bundle with its history."""
    model = build_with(shop.config, trained_state(shop))
    provenance = {
        "vitrail": __version__, "torch": torch.__version__,
        "created": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "step": shop.step, "samples": shop.samples, "seconds": round(shop.seconds, 1),
        "source": {"spec": shop.source.spec, "kind": shop.source.kind, "fingerprint": shop.source.fingerprint},
        "backend": shop.backend._asdict(), "recipe": shop.recipe.model_dump(mode="json"),
        **({"started": start_words(shop)} if shop.recipe.model.weights else {}),
        "unreadable": dict(list(shop.loader.bad.items())[:100]),
    }
    return Bundle(model.eval().requires_grad_(False), shop.recipe.preprocess, shop.source.classes, shop.activation,
                  provenance)
