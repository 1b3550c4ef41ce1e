"""`evaluate` against answers that are known in advance, and against scikit-learn."""

from __future__ import annotations

import json

import numpy as np
import pytest
from known_answers import bundle_of, split_of
from sklearn.metrics import (
    average_precision_score,
    confusion_matrix,
    log_loss,
    precision_score,
    recall_score,
    top_k_accuracy_score,
)
from torch.nn import functional

from vitrail.errors import BundleError, DataError
from vitrail.evaluation import evaluate
from vitrail.vocabulary import Progress

NAMES = ("ant", "bee", "cat", "dog", "elk", "fox", "gnu")


@pytest.fixture(scope="module")
def case() -> tuple[np.ndarray, np.ndarray]:
    """200 random answers to 7 classes, better than chance."""
    draw = np.random.default_rng(0)
    labels = draw.integers(0, 7, 200)
    logits = draw.normal(size=(200, 7)) + 1.5 * np.eye(7)[labels]
    return logits, labels


def softmax(logits: np.ndarray) -> np.ndarray:
    powers = np.exp(logits - logits.max(1, keepdims=True))
    return powers / powers.sum(1, keepdims=True)


@pytest.mark.parametrize("batch_size", [1, 33, 500])
def test_agrees_with_scikit_learn(case: tuple[np.ndarray, np.ndarray], batch_size: int) -> None:
    logits, labels = case
    result = evaluate(bundle_of(logits, NAMES), split_of(labels), batch_size=batch_size)
    predicted = logits.argmax(1)
    assert result.top1 == pytest.approx((predicted == labels).mean())
    assert result.top5 == pytest.approx(top_k_accuracy_score(labels, logits, k=5))
    assert result.loss == pytest.approx(log_loss(labels, softmax(logits)), rel=1e-5)
    assert result.confusion == confusion_matrix(labels, predicted).tolist()
    assert [row.accuracy for row in result.per_class] == pytest.approx(recall_score(labels, predicted, average=None))
    assert [row.precision for row in result.per_class] == pytest.approx(
        precision_score(labels, predicted, average=None))
    assert result.interval is not None
    assert result.interval[0] < result.top1 < result.interval[1]
    assert np.array_equal(result.answers.predicted, predicted)
    assert result.answers.confidence == pytest.approx(softmax(logits).max(1), rel=1e-5)


def test_json_has_the_promised_keys(case: tuple[np.ndarray, np.ndarray]) -> None:
    document = json.loads(evaluate(bundle_of(case[0], NAMES), split_of(case[1])).model_dump_json())
    assert set(document) == {"top1", "top5", "loss", "ece", "interval", "mean_average_precision", "per_class",
                             "confusion", "classes", "images", "errors"}
    assert document["per_class"][2]["class"] == "cat"
    assert document["images"] == 200
    assert document["errors"] == []


def test_calibration_of_a_model_that_is_always_half_sure() -> None:
    result = evaluate(bundle_of([[0.0, 0.0]] * 4), split_of([0, 0, 0, 1]))
    assert result.top1 == 0.75  # equal logits: the first class is the answer
    assert result.ece == pytest.approx(0.25)
    assert result.classes == ("0", "1")


def test_fewer_than_five_classes_and_classes_without_images() -> None:
    result = evaluate(bundle_of([[2.0, 1.0, 0.0], [2.0, 1.0, 0.0]]), split_of([0, 1]))
    assert (result.top1, result.top5) == (0.5, 1.0)
    assert result.per_class[2].accuracy is None
    assert result.per_class[2].precision is None


def test_a_picture_that_cannot_be_read_counts_as_wrong_and_is_named() -> None:
    result = evaluate(bundle_of(np.eye(4) * 9), split_of([0, 1, 2, 3], bad=(2,)), batch_size=3)
    assert (result.top1, result.top5, result.images) == (0.75, 0.75, 4)
    assert [(row.path, row.error) for row in result.errors] == [("image/2", "the file is damaged")]
    assert result.per_class[2].accuracy == 0
    assert result.per_class[3].accuracy == 1
    assert np.sum(result.confusion) == 3
    assert result.answers.indices.tolist() == [0, 1, 3]


def test_nothing_can_be_read() -> None:
    with pytest.raises(DataError, match=r"None of the 2 images can be read.*image/0: the file is damaged"):
        evaluate(bundle_of(np.eye(2)), split_of([0, 1], bad=(0, 1)))


def test_an_empty_split() -> None:
    with pytest.raises(DataError, match="the split is empty"):
        evaluate(bundle_of(np.eye(2)), split_of(np.empty(0, np.int64)))


def test_labels_that_the_model_has_no_output_for() -> None:
    with pytest.raises(DataError, match="Labels run from 0 to 2, the model has outputs 0 to 1"):
        evaluate(bundle_of([[0.0, 1.0]] * 2), split_of([0, 2]))
    with pytest.raises(DataError, match="The labels have 3 columns, the model has 2 outputs"):
        evaluate(bundle_of([[0.0, 1.0]] * 2), split_of(np.ones((2, 3), np.float32)))


@pytest.mark.parametrize("broken", [np.nan, np.inf])
def test_a_model_without_finite_answers_never_gets_a_score(broken: float) -> None:
    with pytest.raises(BundleError, match="not a finite number"):
        evaluate(bundle_of([[0.0, broken]] * 2), split_of([0, 1]))


def test_several_labels_an_image(case: tuple[np.ndarray, np.ndarray]) -> None:
    draw = np.random.default_rng(1)
    labels = (draw.random((60, 4)) < 0.3).astype(np.float32)
    labels[:, 3] = 0
    logits = draw.normal(size=(60, 4)) + labels
    result = evaluate(bundle_of(logits, activation="sigmoid"), split_of(labels, bad=(7,)))
    kept = np.arange(60) != 7
    expected = average_precision_score(labels[kept, :3], logits[kept, :3], average=None)
    assert [row.average_precision for row in result.per_class[:3]] == pytest.approx(expected)
    assert result.per_class[3].average_precision is None
    assert result.mean_average_precision == pytest.approx(np.mean(expected))
    assert (result.top1, result.top5, result.ece, result.interval, result.confusion) == (None,) * 5
    assert result.multilabel
    assert [row.images for row in result.per_class] == labels.sum(0).tolist()
    assert len(json.loads(result.model_dump_json())["errors"]) == 1


def test_a_sigmoid_model_with_one_label_has_its_own_loss_and_probabilities() -> None:
    result = evaluate(bundle_of([[3.0, -1.0]], activation="sigmoid"), split_of([0]))
    expected = -np.log(1 / (1 + np.exp(-3))) - np.log(1 - 1 / (1 + np.exp(1)))
    assert result.loss == pytest.approx(expected, rel=1e-5)
    assert result.answers.confidence[0] == pytest.approx(1 / (1 + np.exp(-3)), rel=1e-5)


def test_a_model_without_probabilities_has_no_loss_and_no_calibration() -> None:
    result = evaluate(bundle_of([[3.0, -1.0]], activation="none"), split_of([0]))
    assert (result.top1, result.loss, result.ece) == (1.0, None, None)


def test_progress_reaches_the_end() -> None:
    seen: list[Progress] = []
    evaluate(bundle_of(np.eye(5)), split_of([0, 1, 2, 3, 4], bad=(1,)), batch_size=2, progress=seen.append)
    assert [step.done for step in seen] == [2, 4, 5]
    assert {step.total for step in seen} == {5}
    assert all(step.rate > 0 for step in seen)


def test_bf16_runs_the_products_in_bf16(monkeypatch: pytest.MonkeyPatch) -> None:
    import torch

    seen = []
    bundle = bundle_of(np.eye(2) * 4)
    forward = bundle.model.forward

    def watched(images: torch.Tensor) -> torch.Tensor:
        seen.append(functional.linear(torch.ones(1, 2), torch.ones(2, 2)).dtype)
        return forward(images)

    monkeypatch.setattr(bundle.model, "forward", watched)
    assert evaluate(bundle, split_of([0, 1]), precision="bf16").top1 == 1
    evaluate(bundle, split_of([0, 1]))
    assert seen == [torch.bfloat16, torch.float32]
