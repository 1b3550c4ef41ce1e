"""A trained model for other classes: the paper's rule for fine-tuning (appendix B.1.1), for every family."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from pydantic import ValidationError

from vitrail.errors import UsageError
from vitrail.models.families import Model, build_with

HEAD = ("head.", "hidden.")
"""What belongs to pre-training: the linear layer and the tanh layer before it. Pooling, also by attention, is part of
the representation and stays."""


def with_head(model: Model, classes: int) -> Model:
    """The same representation (its weights are shared) with a linear layer of zeros for `classes`; 0 for none.

    The whole pre-training head goes. Raises UsageError for a family that always has a head.
    """
    fields = model.config.model_dump() | {"classes": classes, "head_bias": 0.0}
    if "head_hidden" in fields:
        fields["head_hidden"] = None
    try:
        config = type(model.config).model_validate(fields)
    except ValidationError as error:
        raise UsageError(f"{model.config.name} cannot have {classes} classes: {error.errors()[0]['msg']}.") from None
    weights = {name: value for name, value in model.state_dict().items() if not name.startswith(HEAD)}
    if classes:
        like = next(iter(weights.values()))
        weights |= {"head.weight": like.new_zeros(classes, config.embedding), "head.bias": like.new_zeros(classes)}
    other = build_with(config, weights)
    return other.train(model.training).requires_grad_(next(model.parameters()).requires_grad)


def with_classes_in_order(model: Model, order: Sequence[int]) -> Model:
    """The same model whose answer number i is the one that was number `order[i]`."""
    weights = model.state_dict()
    weights |= {name: value[torch.tensor(order)] for name, value in weights.items() if name.startswith("head.")}
    other = build_with(model.config, weights)
    return other.train(model.training).requires_grad_(next(model.parameters()).requires_grad)
