"""Logistic regression against scikit-learn; the penalty is chosen without the test images."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression

from vitrail.evaluation.frozen import logistic as station
from vitrail.evaluation.frozen.dev_split import held_out
from vitrail.evaluation.frozen.logistic import PENALTIES, USUAL, choose_penalty, fit, logistic


def drawn(images: int, seed: int = 0, width: int = 10, classes: int = 3,
          noise: float = 1.0) -> tuple[np.ndarray, np.ndarray]:
    generator = np.random.default_rng(seed)
    labels = np.arange(images) % classes
    centers = np.random.default_rng(9).normal(0, 1, (classes, width))
    return (centers[labels] + generator.normal(0, noise, (images, width))).astype(np.float32), labels


@pytest.mark.parametrize(("images", "classes"), [(120, 3), (20, 3), (60, 2)])
def test_solutions_of_scikit_learn(images, classes):
    features, labels = drawn(images, classes=classes)
    penalties = (1.0, 1e-2, 1e-4)
    readouts = fit(features, labels, classes, penalties)
    unseen = drawn(50, seed=5, classes=classes)[0]
    for readout, penalty in zip(readouts, penalties, strict=True):
        # Two classes are one column there: the softmax over two columns has the same answers at half its penalty.
        alone = penalty if classes > 2 else penalty / 2
        theirs = LogisticRegression(C=1 / (alone * images), tol=1e-10, max_iter=10_000)
        theirs.fit(readout.whiten(features).astype(np.float64), labels)
        expected = theirs.predict_proba(readout.whiten(unseen).astype(np.float64))
        scores = readout.scores(unseen).astype(np.float64)
        ours = np.exp(scores - scores.max(1, keepdims=True))
        np.testing.assert_allclose(ours / ours.sum(1, keepdims=True), expected, atol=2e-4)


def test_a_solution_does_not_depend_on_where_it_started():
    features, labels = drawn(90)
    alone = fit(features, labels, 3, (1e-3,))[0]
    after = fit(features, labels, 3, (10.0, 1.0, 1e-3))[-1]
    np.testing.assert_allclose(alone.weights, after.weights, atol=1e-4)


def test_noise_asks_for_a_strong_penalty_and_plenty_of_signal_for_a_weak_one():
    noisy = drawn(60, width=200, noise=8.0)
    assert choose_penalty(*noisy, 3, seed=0) >= 1e-1
    rare = np.random.default_rng(0).normal(0, 1, (2_000, 5)).astype(np.float32)
    boundary = (rare[:, 0] + 0.05 * rare[:, 1] > 0).astype(np.int64)  # the second feature counts, but little
    assert choose_penalty(rare, boundary, 2, seed=0) <= 1e-2


def test_the_answer_is_of_all_images_at_the_chosen_penalty():
    features, labels = drawn(60)
    readout, penalty = logistic(features, labels, 3, seed=1)
    assert penalty in PENALTIES
    np.testing.assert_array_equal(readout.weights, fit(features, labels, 3, (penalty,))[0].weights)


def test_the_penalty_is_chosen_on_images_that_were_not_learned(monkeypatch):
    features, labels = drawn(60)
    learned = []

    def watched(values, *rest):
        learned.append(values)
        return fit(values, *rest)

    monkeypatch.setattr(station, "fit", watched)
    choose_penalty(features, labels, 3, seed=0)
    held = held_out(labels, 0)
    assert np.array_equal(learned[0], features[~held])
    assert np.bincount(labels[held]).tolist() == [4, 4, 4]


def test_one_image_a_class_is_learned_and_nothing_is_held_out():
    labels = np.array([0, 1, 2])
    assert not held_out(labels, 0).any()
    assert choose_penalty(np.eye(3, dtype=np.float32), labels, 3, 0) == USUAL
    assert held_out(np.array([0, 1, 1]), 0).sum() == 1
