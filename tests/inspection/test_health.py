from __future__ import annotations

import numpy as np
import pytest
import torch
from tiny_models import pictures, tiny, without_keys

from vitrail.bundle import Bundle
from vitrail.data.preprocess import Preprocess
from vitrail.errors import NothingToSeeError
from vitrail.inspection import record
from vitrail.inspection.health import health
from vitrail.inspection.lens import encoded
from vitrail.models import create


def bundle_of(**overrides: object) -> Bundle:
    return Bundle(tiny(**overrides), Preprocess(size=(12, 8)))


def test_even_attention_has_entropy_one() -> None:
    assert health(without_keys(bundle_of(registers=1)), pictures()).entropy == pytest.approx(np.ones((3, 2)), abs=1e-6)


def test_agrees_with_numpy() -> None:
    """Entropy and what each head adds, out of the recorded queries, keys and values."""
    bundle = bundle_of()
    found = health(bundle, pictures(3), batch_size=2)
    with record(bundle.model) as trace:
        encoded(bundle, pictures(3))
    for layer, recorded in enumerate(trace.values()):
        weights = recorded.weights().double().numpy()
        entropy = -(weights * np.log(weights)).sum(-1).mean((0, 2)) / np.log(7)
        assert found.entropy[layer] == pytest.approx(entropy, abs=1e-5)
        out = bundle.model.get_parameter(f"encoder.blocks.{layer}.attention.out.weight").detach().double().numpy()
        mixed = weights @ recorded.values.double().numpy()
        added = np.stack([np.linalg.norm(mixed[:, head] @ out[:, 8 * head : 8 * head + 8].T, axis=-1).mean()
                          for head in range(2)])
        assert found.added[layer] == pytest.approx(added / added.mean(), rel=1e-4)


def test_a_head_whose_output_is_cut_off_is_dead() -> None:
    bundle = bundle_of()
    with torch.no_grad():
        bundle.model.get_parameter("encoder.blocks.1.attention.out.weight")[:, 8:] = 0
    found = health(bundle, pictures())
    assert found.dead == [(1, 1)]
    assert found.added[1] == pytest.approx([2, 0])


def test_a_patch_out_of_proportion_is_counted() -> None:
    """One of six patches is white, and the first number of a token is its brightness, times a thousand."""
    bundle = bundle_of(depth=1)
    model = bundle.model
    with torch.no_grad():
        model.patchify.weight.zero_()  # type: ignore[operator, union-attr]
        model.patchify.weight[0] = 1000.0  # type: ignore[index, operator, union-attr]
    raw = torch.full((1, 3, 12, 8), 128, dtype=torch.uint8)
    assert health(bundle, raw).high == pytest.approx([0])
    raw[:, :, :4, :4] = 255
    found = health(bundle, raw)
    assert found.high == pytest.approx([1 / 6])
    assert found.lengths.shape == (1, 1, 6)


def test_a_resnet_says_why_not() -> None:
    bundle = Bundle(create("R26x0.25", image_size=16, depths=(1,)).eval(), Preprocess(size=(16, 16)))
    with pytest.raises(NothingToSeeError, match="convolutions only"):
        health(bundle, pictures(1, (16, 16)))
