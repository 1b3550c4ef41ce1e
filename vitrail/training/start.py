"""Where a run starts that does not start from scratch: trained weights, and the head that the images ask for.

The paper's rule (appendix B.1.1): the whole pre-training head goes, and a linear layer of zeros comes; the first step
then moves the head alone, and no noise of a random one reaches the weights behind it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import torch

from vitrail.bundle import Bundle
from vitrail.errors import BundleError
from vitrail.models import Model, ModelConfig
from vitrail.models.another_head import with_classes_in_order, with_head
from vitrail.models.families import build_with

HeadChoice = Literal["new", "keep"]

FREE = ("name", "dropout", "drop_path", "head_bias")
"""What a run may choose for itself; all else is what the weights were trained with."""


def start(bundle: Bundle, config: ModelConfig, classes: Sequence[str], activation: str, head: HeadChoice) -> Model:
    """The model of `config` with the Bundle's weights (their memory is taken over), ready to be trained.

    `classes`: of the images, in their order; without any the model has no head. Raises BundleError where the weights,
    or a head to be kept, do not fit.
    """
    model = with_head(bundle.model, len(classes)) if head == "new" else kept_head(bundle, classes, activation)
    refuse_differences(model.config, config)
    weights = model.state_dict()
    if head == "new" and classes:
        weights["head.bias"] = torch.full((len(classes),), config.head_bias)
    return build_with(config, weights).train().requires_grad_(True)


def kept_head(bundle: Bundle, classes: Sequence[str], activation: str) -> Model:
    """The model with the answers in the order of `classes`."""
    use = "Leave out model.head=keep for a new head."
    if reason := bundle.silence():
        raise BundleError(f"There is no head to keep: {reason}")
    if bundle.classes is None:
        raise BundleError(f"The weights do not say which classes their {bundle.model.config.classes} answers are, so "
                          f"their head cannot be kept. {use}")
    if differing := describe_classes(bundle.classes, classes):
        raise BundleError(f"The head knows other classes than the images have: {differing}. {use}")
    if bundle.activation not in ("none", activation):
        raise BundleError(f"The head was trained with a {bundle.activation}, but this run trains with a {activation}: "
                          f"set objective.loss={bundle.activation} where the labels allow it. {use}")
    order = {name: index for index, name in enumerate(bundle.classes)}
    return with_classes_in_order(bundle.model, [order[name] for name in classes])


def describe_classes(held: Sequence[str], wanted: Sequence[str], holder: str = "weights", most: int = 5) -> str:
    """In which names two lists of classes differ; empty where in none."""
    words = []
    for where, names in ((holder, set(held) - set(wanted)), ("images", set(wanted) - set(held))):
        if names:
            more = f" and {len(names) - most} more" if len(names) > most else ""
            words.append(f"only in the {where}: {', '.join(sorted(names)[:most])}{more}")
    return "; ".join(words)


def refuse_differences(held: ModelConfig, wanted: ModelConfig) -> None:
    """Raises BundleError that names every field in which the run asks for another model than the weights are."""
    ours, theirs = wanted.model_dump(exclude=set(FREE)), held.model_dump(exclude=set(FREE))
    if differing := [f"{name} is {theirs.get(name)}, not {value}" for name, value in ours.items()
                     if theirs.get(name) != value]:
        raise BundleError(f"The weights are not those of {wanted.name} as the run asks for it: {'; '.join(differing)}. "
                          f"What may be set beside weights: {', '.join(FREE[1:])}.")
