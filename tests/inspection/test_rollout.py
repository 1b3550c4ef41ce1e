from __future__ import annotations

import numpy as np
import pytest
import torch
from tiny_models import pictures, tiny, without_keys

from vitrail.bundle import Bundle
from vitrail.data.preprocess import Preprocess
from vitrail.errors import NothingToSeeError
from vitrail.inspection import record, rollout
from vitrail.inspection.lens import encoded
from vitrail.models import create


def independent(bundle: Bundle, raw: torch.Tensor) -> np.ndarray:
    """Matrices in float64, [images, tokens, tokens]."""
    with record(bundle.model) as trace:
        encoded(bundle, raw)
    through = np.eye(trace["encoder.blocks.0.attention.core"].keys.shape[2])
    for name, recorded in trace.items():
        if name.startswith("encoder"):
            q, k = recorded.queries.double().numpy(), recorded.keys.double().numpy()
            scores = np.einsum("bhqd,bhkd->bhqk", q, k) / np.sqrt(q.shape[-1])
            weights = np.exp(scores) / np.exp(scores).sum(-1, keepdims=True)
            layer = weights.mean(1) + np.eye(q.shape[2])
            through = (layer / layer.sum(-1, keepdims=True)) @ through
    return through


def bundle_of(**overrides: object) -> Bundle:
    return Bundle(tiny(**overrides), Preprocess(size=(12, 8)))


def test_equals_an_independent_computation() -> None:
    bundle = bundle_of(registers=2)
    expected = independent(bundle, pictures(3))[:, 0, 3:].reshape(3, 3, 2)
    assert rollout(bundle, pictures(3), batch_size=2) == pytest.approx(expected, abs=1e-6)


def test_without_a_class_token_it_is_the_mean() -> None:
    bundle = bundle_of(pooling="mean")
    expected = independent(bundle, pictures()).mean(1).reshape(2, 3, 2)
    assert rollout(bundle, pictures()) == pytest.approx(expected, abs=1e-6)


def test_attention_pooling_reads_what_its_query_attends_to() -> None:
    bundle = bundle_of(pooling="attention")
    with torch.no_grad():
        bundle.model.pool.key_value.weight.zero_()  # type: ignore[union-attr, operator]
    expected = independent(bundle, pictures()).mean(1).reshape(2, 3, 2)  # the query attends to all alike
    assert rollout(bundle, pictures()) == pytest.approx(expected, abs=1e-6)


def test_uniform_attention_has_a_closed_form() -> None:
    """Of the class token: each layer keeps half and spreads half evenly over 7 tokens."""
    found = rollout(without_keys(bundle_of()), pictures())
    assert found == pytest.approx(np.full((2, 3, 2), (1 - 0.5**3) / 7), abs=1e-6)


def test_an_axial_model_is_multiplied_through_rows_and_columns() -> None:
    torch.manual_seed(0)
    model = create("axial-mu/4", image_size=(12, 8), width=16, depth=1, heads=2, mlp=32, classes=3).eval()
    for half in (model.encoder.blocks[0].row, model.encoder.blocks[0].column):  # type: ignore[union-attr, index]
        torch.nn.init.normal_(half.attention.qkv.weight)  # type: ignore[union-attr, arg-type]
    bundle = Bundle(model, Preprocess(size=(12, 8)))
    with record(model) as trace:
        encoded(bundle, pictures(1))
    rows, columns = np.zeros((6, 6)), np.zeros((6, 6))
    for row in range(3):
        here = np.arange(2) + 2 * row
        rows[np.ix_(here, here)] = trace["encoder.blocks.0.row.attention.core"].weights().mean(1).numpy()[row]
    for column in range(2):
        here = 2 * np.arange(3) + column
        columns[np.ix_(here, here)] = trace["encoder.blocks.0.column.attention.core"].weights().mean(1).numpy()[column]
    expected = ((columns + np.eye(6)) / 2 @ (rows + np.eye(6)) / 2).mean(0).reshape(1, 3, 2)
    assert rollout(bundle, pictures(1)) == pytest.approx(expected, abs=1e-6)


def test_a_resnet_has_none() -> None:
    bundle = Bundle(create("R26x0.25", image_size=16, depths=(1,)).eval(), Preprocess(size=(16, 16)))
    with pytest.raises(NothingToSeeError, match="convolutions only"):
        rollout(bundle, pictures(1, (16, 16)))
