"""Nearest neighbors against scikit-learn, and cases with known answers."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from sklearn.neighbors import KNeighborsClassifier, NearestNeighbors

from vitrail.evaluation.frozen import neighbors
from vitrail.evaluation.frozen.neighbors import by_neighbors, nearest


def drawn(images: int, seed: int, width: int = 12, classes: int = 4) -> tuple[np.ndarray, np.ndarray]:
    generator = np.random.default_rng(seed)
    labels = generator.integers(0, classes, images)
    centers = np.random.default_rng(0).normal(0, 1, (classes, width))
    return (centers[labels] + generator.normal(0, 1.5, (images, width))).astype(np.float32), labels


@pytest.fixture(params=[(16_384, 1_024), (7, 5)], ids=["one block", "small blocks"])
def blocks(request, monkeypatch):
    monkeypatch.setattr(neighbors, "TRAIN_BLOCK", request.param[0])
    monkeypatch.setattr(neighbors, "TEST_BLOCK", request.param[1])


@pytest.mark.usefixtures("blocks")
@pytest.mark.parametrize("k", [1, 5, 20])
@pytest.mark.parametrize("temperature", [0.07, 0.5, 0.01])
def test_votes_of_scikit_learn(k, temperature):
    train, labels = drawn(150, 1)
    test, _ = drawn(60, 2)
    theirs = KNeighborsClassifier(k, metric="cosine", algorithm="brute",
                                  weights=lambda distances: np.exp((1 - distances) / temperature))
    ours = by_neighbors(train, labels, 4, test, (k,), temperature)[k]
    assert (ours == theirs.fit(train.astype(np.float64), labels).predict(test.astype(np.float64))).all()


@pytest.mark.usefixtures("blocks")
def test_neighbors_of_scikit_learn():
    train, test = drawn(100, 1)[0], drawn(33, 2)[0]
    distances, rows = NearestNeighbors(n_neighbors=9, metric="cosine").fit(train).kneighbors(test)
    found = list(nearest(train, test, 9))
    assert np.array_equal(torch.cat([places for _, places in found]).numpy(), rows)
    np.testing.assert_allclose(torch.cat([values for values, _ in found]).numpy(), 1 - distances, atol=1e-5)


@pytest.mark.usefixtures("blocks")
def test_several_k_at_once_are_each_as_alone():
    train, labels = drawn(100, 1)
    test, _ = drawn(40, 2)
    together = by_neighbors(train, labels, 4, test, (1, 10, 200))
    for k in (1, 10, 200):  # the last is more than there are
        assert np.array_equal(together[k], by_neighbors(train, labels, 4, test, (k,))[k])


def test_temperature_decides_between_one_near_and_two_far():
    train = np.array([[1.0, 0.0], [0.6, 0.8], [0.6, -0.8]], np.float32)
    labels = np.array([0, 1, 1])
    near = np.array([[1.0, 0.0]], np.float32)
    assert by_neighbors(train, labels, 2, near, (3,), temperature=0.07)[3].tolist() == [0]
    assert by_neighbors(train, labels, 2, near, (3,), temperature=10.0)[3].tolist() == [1]
    assert by_neighbors(train, labels, 2, near, (3,), temperature=1e-4)[3].tolist() == [0]  # e^10000 is no float


def test_length_does_not_count_and_zeros_do_no_harm():
    train = np.array([[1e3, 0], [0, 1e-3], [0, 0]], np.float32)
    test = np.array([[1e-4, 0], [0, 1e4], [0, 0]], np.float32)
    answers = by_neighbors(train, np.array([0, 1, 2]), 3, test, (1,))[1]
    assert answers[:2].tolist() == [0, 1]


def test_the_order_of_training_images_does_not_matter():
    train, labels = drawn(80, 1)
    test, _ = drawn(40, 2)
    order = np.random.default_rng(3).permutation(80)
    permuted = by_neighbors(train[order], labels[order], 4, test)
    assert np.array_equal(by_neighbors(train, labels, 4, test)[20], permuted[20])
