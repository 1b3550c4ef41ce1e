"""The linear probe: many learning rates at once are each what they are alone, and torch's own SGD agrees."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from test_logistic import drawn
from torch.nn import functional

from vitrail.evaluation.frozen import linear as station
from vitrail.evaluation.frozen.linear import BATCH, RATES, USUAL, choose_rate, descend, linear
from vitrail.evaluation.frozen.logistic import fit


def test_the_steps_of_torch():
    features, labels = drawn(300)
    readout = descend(features, labels, 3, (0.1,), seed=4, steps=12)[0]
    inputs, targets = torch.from_numpy(readout.whiten(features)), torch.from_numpy(labels)
    layer = torch.nn.Linear(10, 3)
    torch.nn.init.zeros_(layer.weight), torch.nn.init.zeros_(layer.bias)
    optimizer = torch.optim.SGD(layer.parameters(), lr=0.1, momentum=0.9)
    generator = np.random.default_rng(4)
    order = np.concatenate([generator.permutation(300) for _ in range(6)])
    for step in range(12):
        optimizer.param_groups[0]["lr"] = 0.1 * (0.5 + 0.5 * math.cos(math.pi * step / 12))
        rows = order[step * BATCH:(step + 1) * BATCH]
        optimizer.zero_grad()
        functional.cross_entropy(layer(inputs[rows]), targets[rows]).backward()
        optimizer.step()
    np.testing.assert_allclose(readout.weights, layer.weight.detach().T, atol=1e-5)
    np.testing.assert_allclose(readout.bias, layer.bias.detach(), atol=1e-5)


def test_rates_side_by_side_are_each_as_alone():
    features, labels = drawn(100)
    for rate, together in zip(RATES, descend(features, labels, 3, RATES, seed=0, steps=20), strict=True):
        alone = descend(features, labels, 3, (rate,), seed=0, steps=20)[0]
        np.testing.assert_allclose(together.weights, alone.weights, rtol=1e-4, atol=1e-6)


def test_it_comes_near_the_best_layer_there_is():
    features, labels = drawn(300, noise=3.0)
    best = fit(features, labels, 3, (1e-6,))[0]
    assert loss(descend(features, labels, 3, (0.3,), seed=0, steps=1_000)[0], features, labels) == pytest.approx(
        loss(best, features, labels), rel=0.03)


def test_fewer_images_than_a_batch_and_a_class_of_one(monkeypatch):
    monkeypatch.setattr(station, "STEPS", 200)
    features, labels = drawn(7)
    readout, rate = linear(features, labels, 3)
    assert rate in RATES
    assert (readout.predict(features) == labels).all()
    assert choose_rate(np.eye(3, dtype=np.float32), np.array([0, 1, 2]), 3, 0) == USUAL


def test_the_rate_that_does_best_on_held_out_images_is_chosen(monkeypatch):
    monkeypatch.setattr(station, "STEPS", 50)
    monkeypatch.setattr(station, "RATES", (0.0, 1e-1))  # the first stays at zeros, which answer class 0
    assert choose_rate(*drawn(200), 3, 0) == 1e-1


def loss(readout, features, labels) -> float:
    return float(functional.cross_entropy(torch.from_numpy(readout.scores(features)), torch.from_numpy(labels)))
