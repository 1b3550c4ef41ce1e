"""The whole pre-training head goes; everything else stays."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from models.small import awake, pictures, small
from vitrail.errors import UsageError
from vitrail.models.another_head import with_classes_in_order, with_head

MODELS: dict[str, dict[str, Any]] = {
    "token": {}, "tanh layer": {"head_hidden": 7, "head_bias": -10.0}, "attention": {"pooling": "attention"},
    "distilled": {"pooling": "distilled"}, "after pooling": {"pooling": "mean", "norm_at": "pooled"},
    "hybrid": {"family": "hybrid"}, "bit": {"family": "bit"}, "no head": {"classes": 0},
}
each = pytest.mark.parametrize("fields", MODELS.values(), ids=MODELS)


@each
@torch.inference_mode()
def test_the_representation_stays_and_the_answers_are_zero(fields: dict[str, Any]) -> None:
    model = awake(small(**fields))
    other = with_head(model, 3)
    images = pictures(model.config)
    assert torch.equal(other(images), torch.zeros(2, 3))
    before_head = model.pool_norm(model.pool(model.encode(images))) if hasattr(model, "pool") else model.embed(images)
    torch.testing.assert_close(other.embed(images), before_head)
    assert other.config.classes == 3
    assert getattr(other.config, "head_hidden", None) is None
    assert other.config.head_bias == 0
    kept = {name for name in model.state_dict() if not name.startswith(("head.", "hidden."))}
    assert {name for name in other.state_dict() if not name.startswith("head.")} == kept


@torch.inference_mode()
def test_without_a_head_the_features_are_the_answer() -> None:
    model = awake(small(head_hidden=7))
    other = with_head(model, 0)
    images = pictures(model.config)
    torch.testing.assert_close(other(images), model.pool(model.encode(images)))
    with pytest.raises(UsageError, match="cannot have -1 classes"):
        with_head(model, -1)


@each
@torch.inference_mode()
def test_answers_in_another_order(fields: dict[str, Any]) -> None:
    if fields.get("classes") == 0:
        return
    model = awake(small(**fields))
    images = pictures(model.config)
    order = [3, 0, 4, 1, 2]
    torch.testing.assert_close(with_classes_in_order(model, order)(images), model(images)[:, order])
