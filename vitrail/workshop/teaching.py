"""The teacher of a run: a trained model that knows the same classes, made ready to answer, and in words."""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

import torch

from vitrail.bundle import Bundle
from vitrail.data.source import Source
from vitrail.errors import BundleError, UsageError
from vitrail.models import Model, describe
from vitrail.models.another_head import with_classes_in_order
from vitrail.objectives import Classify, Distill, Loss, Objective, Teacher
from vitrail.recipe import ObjectiveSettings, Recipe
from vitrail.training.backend import Backend, set_kernels
from vitrail.training.precision import DTYPES
from vitrail.training.start import describe_classes


def taught(student: Classify, bundle: Bundle, settings: ObjectiveSettings, source: Source, backend: Backend,
           device: torch.device) -> Distill:
    """The objective with a teacher, the `bundle`, beside the labels. Raises BundleError and UsageError where it cannot
    teach this."""
    refuse_other_answers(bundle, source, student.loss, settings)
    order = answers_in_order(bundle, source.classes)
    model = with_classes_in_order(bundle.model, order).to(device, DTYPES[backend.precision])
    set_kernels(model, backend.attention)
    teacher = Teacher(model, bundle.preprocess.normalize, bundle.preprocess.size, bundle.preprocess.interpolation)
    return Distill(student, teacher, kind=settings.distillation, share=settings.teacher_share,
                   temperature=settings.temperature)


def answers_in_order(bundle: Bundle, classes: Sequence[str]) -> list[int]:
    """Which of the teacher's answers belongs to each class of the images, by name."""
    if reason := bundle.silence():
        raise BundleError(f"The teacher cannot teach: {reason}")
    if bundle.classes is None:
        raise BundleError(f"The teacher does not say which classes its {bundle.model.config.classes} answers are. "
                          "Train it on these images first, or give a run folder or a Bundle with class names.")
    if differing := describe_classes(bundle.classes, classes, "teacher"):
        raise BundleError(f"The teacher knows other classes than the images have: {differing}. Give one that was "
                          "trained on the same classes.")
    numbers = {name: index for index, name in enumerate(bundle.classes)}
    return [numbers[name] for name in classes]


def refuse_other_answers(bundle: Bundle, source: Source, loss: Loss, settings: ObjectiveSettings) -> None:
    """Raises UsageError where the teacher's answers are of another kind than the run compares."""
    if settings.distillation == "hard" and source.multilabel:
        raise UsageError(f"{source.spec} has several labels an image, and a hard teacher names one. Use --set "
                         "objective.distillation=soft.")
    if settings.distillation == "soft" and bundle.activation not in ("none", loss):
        other = "" if source.multilabel else f", --set objective.loss={bundle.activation}"
        raise UsageError(f"The teacher was trained with a {bundle.activation}, but this run trains with a {loss}, so "
                         f"their probabilities mean different things. Use --set objective.distillation=hard{other} or "
                         "another teacher.")


def teacher_words(recipe: Recipe, objective: Objective) -> str | None:
    """Who teaches, how, and what it sees."""
    settings = recipe.objective
    if settings.teacher is None or not isinstance(objective, Distill):
        return None
    config, size = cast(Model, objective.teacher.model).config, objective.teacher.size
    how = "its best answer is a second label" if settings.distillation == "hard" else (
        f"all of its answers count, at temperature {settings.temperature:g}")
    resized = "" if size == recipe.preprocess.size else f", resized to {size[0]}x{size[1]} pixels"
    return (f"{settings.teacher.path} ({config.name}, {describe(config).macs / 1e6:,.0f} M multiply-adds an image): "
            f"{how}, for {settings.teacher_share:g} of the loss; it sees the same pictures{resized}")
