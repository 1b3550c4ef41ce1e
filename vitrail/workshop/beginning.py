"""With what a run begins, from its recipe and the images: model, what of it learns, objective, backend."""

from __future__ import annotations

import warnings

import torch

from vitrail import weights
from vitrail.bundle import Bundle
from vitrail.data.multi_crop import MultiCropView
from vitrail.data.source import Source
from vitrail.data.views import TrainView, View
from vitrail.errors import DataError, RunError, UsageError
from vitrail.models import AxialResNetConfig, BiTConfig, HybridConfig, Model, ModelConfig, ViT, build, describe
from vitrail.models.vit.config import INSIDE
from vitrail.objectives import Classify, Dino, Loss, MaskedAutoencoder, MaskedPatch, Objective
from vitrail.recipe import Recipe, WeightsSettings
from vitrail.training.adapters import adapt
from vitrail.training.backend import Backend, choose_axial_backend, choose_backend, choose_convolution_backend
from vitrail.training.compiled import compile_blocks
from vitrail.training.forecast import free_bytes
from vitrail.training.freeze import freeze
from vitrail.training.loop import hash_seed
from vitrail.training.start import start
from vitrail.vocabulary import Size
from vitrail.workshop.teaching import taught


def first_model(recipe: Recipe, config: ModelConfig, source: Source, *, going_on: bool) -> Model:
    """Drawn afresh, or made of trained weights. A run that goes on finds its own in its checkpoint, but for those that
    do not learn."""
    torch.manual_seed(hash_seed(recipe.seed))
    everything_learns = recipe.objective.labeled and not (recipe.training.freeze or recipe.training.adapters.rank)
    if recipe.model.weights is None or (going_on and everything_learns):
        return build(config)
    bundle = trained_weights(recipe.model.weights, "model.weights", recipe.preprocess.size,
                             getattr(config, "patch", None))
    activation = loss_of(recipe, source) if recipe.objective.labeled else "none"
    return start(bundle, config, answers(recipe, source), activation, recipe.model.head)


def answers(recipe: Recipe, source: Source) -> tuple[str, ...]:
    """The classes that the model has an answer for: none where no label is learned."""
    return source.classes if recipe.objective.labeled else ()


def trained_weights(given: WeightsSettings, setting: str, size: Size | None = None,
                    patch: Size | None = None) -> Bundle:
    """What the recipe names in a `setting`, at another size where one is given. Raises RunError where it is not the
    same file any more."""
    if weights.read(given.path, weights.Told(size)).sha256() != given.sha256:
        raise RunError(f"{given.path} is not the file that this recipe names: its SHA-256 is another. Say where the "
                       f"right one is: --set {setting}.path=FILE; or begin a new run with this one.")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # an empty head is no loss here
        return weights.load(given.path, size, patch=patch)


def choose_what_learns(model: Model, recipe: Recipe) -> None:
    """Freeze parts or put corrections beside them, recompute and compile blocks, as the recipe says."""
    training = recipe.training
    if training.freeze:
        freeze(model, training.freeze)
    if training.adapters.rank:
        adapt(model, training.adapters)
    if training.recompute:
        if not isinstance(model, ViT):
            raise UsageError(f"training.recompute is for blocks of a transformer; {model.config.name} has none.")
        model.encoder.recompute = True
    for parameter in model.parameters():
        if not parameter.numel():  # the registers of a model that has none
            parameter.requires_grad_(False)
    if training.compile:
        compile_blocks(model)


def loss_of(recipe: Recipe, source: Source) -> Loss:
    loss = recipe.objective.loss
    if loss == "auto":
        return "sigmoid" if source.multilabel else "softmax"
    if loss == "softmax" and source.multilabel:
        raise UsageError(f"{source.spec} has several labels an image, which a softmax cannot learn. "
                         "Use --set objective.loss=sigmoid.")
    return loss


def build_objective(recipe: Recipe, model: Model, source: Source, backend: Backend,
                    device: torch.device) -> Objective:
    """What the recipe has the model learn, on the device, with the teacher where there is one."""
    settings, normalize = recipe.objective, recipe.preprocess.normalize
    if settings.name == "masked-patch":
        return MaskedPatch(model, normalize, settings.masked_patch, recipe.seed).to(device)
    if settings.name == "mae":
        autoencoder = MaskedAutoencoder(model, normalize, settings.mae, recipe.seed).to(device)
        if recipe.training.compile:
            compile_blocks(autoencoder.decoder)
        return autoencoder
    if settings.name == "dino":
        crops = recipe.augmentation.multi_crop
        return Dino(model, normalize, settings.dino, recipe.seed, local=crops.local,
                    local_size=crops.local_size).to(device)
    if not source.classes:
        raise DataError(f"{source.spec} has no labels, which objective.name=classify learns. Learn without labels: "
                        f"vitrail pretrain {source.spec}")
    objective = Classify(model, normalize, loss=loss_of(recipe, source), label_smoothing=settings.label_smoothing,
                         multilabel=source.multilabel).to(device)
    if settings.teacher is None:
        return objective
    bundle = trained_weights(settings.teacher, "objective.teacher")
    return taught(objective, bundle, settings, source, backend, device)


def training_view(recipe: Recipe, objective: Objective) -> View:
    """How the objective looks at the training images."""
    if "image" in objective.views:
        return TrainView(recipe.preprocess, recipe.augmentation)
    return MultiCropView(recipe.preprocess, recipe.augmentation)


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
                             precision=precision, free=free_bytes(device),
                             native_for=None if recipe.training.compile or config.positions in INSIDE
                             else config.feedforward)
    return backend._replace(reason="; ".join([*words, backend.reason]))


def mostly_convolutions(config: HybridConfig) -> bool:
    """True where the ResNet in front costs more than the transformer behind it."""
    return describe(config).macs > 2 * describe(config.on_features).macs


def second_stage(config: ModelConfig) -> Size:
    """Rows and columns of a ResNet's second stage: neither its largest maps nor its smallest."""
    return -(-config.image_size[0] // 8), -(-config.image_size[1] // 8)
