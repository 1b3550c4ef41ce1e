from __future__ import annotations

import numpy as np
import pytest
import torch
from tiny_models import pictures, tiny

from vitrail.bundle import Bundle
from vitrail.data.preprocess import Preprocess
from vitrail.inspection.similarity import alignment, layer_similarity
from vitrail.models import create


def hsic(kernel: np.ndarray, other: np.ndarray) -> float:
    """The unbiased estimate as Song et al. write it (2012, equation 5)."""
    n = len(kernel)
    first, second = kernel - np.diag(np.diag(kernel)), other - np.diag(np.diag(other))
    ones = np.ones(n)
    return float((np.trace(first @ second) + ones @ first @ ones * (ones @ second @ ones) / ((n - 1) * (n - 2))
                  - 2 / (n - 2) * (ones @ first @ second @ ones)) / (n * (n - 3)))


def test_agrees_with_the_published_estimate() -> None:
    drawn = np.random.default_rng(0)
    first = drawn.normal(size=(20, 7))
    second = first @ drawn.normal(size=(7, 4)) + drawn.normal(size=(20, 4))
    alike = alignment([torch.tensor(first), torch.tensor(second)])
    x, y = (one - one.mean(0) for one in (first, second))
    expected = hsic(x @ x.T, y @ y.T) / np.sqrt(hsic(x @ x.T, x @ x.T) * hsic(y @ y.T, y @ y.T))
    assert alike[0, 1] == pytest.approx(expected, rel=1e-9)
    assert np.diag(alike) == pytest.approx([1, 1])


def test_turned_moved_and_scaled_features_are_the_same() -> None:
    rows = torch.randn(50, 6, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    turn, _ = torch.linalg.qr(torch.randn(6, 6, generator=torch.Generator().manual_seed(1), dtype=torch.float64))
    assert alignment([rows, 3 * rows @ turn + 7])[0, 1] == pytest.approx(1)


def test_features_with_nothing_in_common_come_out_near_zero_also_where_they_are_wide() -> None:
    """Without the correction, 40 examples of 400 numbers each would seem alike by 0.9."""
    drawn = torch.Generator().manual_seed(0)
    first, second = (torch.randn(40, 400, generator=drawn) for _ in range(2))
    assert abs(alignment([first, second])[0, 1]) < 0.1


def test_a_constant_layer_has_no_number() -> None:
    assert np.isnan(alignment([torch.ones(5, 2), torch.randn(5, 2)])[0, 1])


def test_layers_of_a_transformer_and_of_a_resnet() -> None:
    names, alike = layer_similarity(Bundle(tiny(), Preprocess(size=(12, 8))), pictures(4))
    assert names == ["block 1", "block 2", "block 3"]
    assert alike.shape == (3, 3)
    assert alike[0, 1] > 0.5  # shortcuts
    resnet = create("R26x0.25", image_size=32, depths=(1, 2)).eval()
    names, alike = layer_similarity(Bundle(resnet, Preprocess(size=(32, 32))), pictures(8, (32, 32)))
    assert names == ["unit 1.1", "unit 2.1", "unit 2.2"]
    assert np.isfinite(alike).all()
