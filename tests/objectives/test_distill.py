"""A teacher beside the labels: its loss against other implementations, and that nothing of it is learned or kept."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from scipy.special import expit, rel_entr, softmax
from scipy.stats import entropy
from test_classify import LOGITS, Fixed
from torch import nn

from vitrail.objectives import Classify, Distill, Teacher
from vitrail.objectives.distill import divergence
from vitrail.vocabulary import Batch

ANSWERS = torch.tensor([[1.0, 0.0, -2.0], [0.5, 4.0, 3.5]])  # best: 0, where the student agrees, and 1, where not
LABELS = torch.tensor([2, 2])


def batch(targets: torch.Tensor = LABELS, images: torch.Tensor | None = None) -> Batch:
    images = torch.zeros(len(targets), 3, 4, 4, dtype=torch.uint8) if images is None else images
    places = torch.arange(len(targets))
    return Batch({"image": images}, targets, places, places)


def distill(loss: str = "softmax", smoothing: float = 0.0, multilabel: bool = False, **options: object) -> Distill:
    student = Classify(Fixed(LOGITS.clone()), torch.Tensor.float, loss=loss, label_smoothing=smoothing,  # type: ignore[arg-type]
                       multilabel=multilabel)
    return Distill(student, Teacher(Fixed(ANSWERS.clone()), torch.Tensor.float, (4, 4)), **options)  # type: ignore[arg-type]


def test_hard_is_the_mean_of_two_cross_entropies() -> None:
    """By hand: of the rows [2, -1, 0.5] and [0, 0, 3] for the labels 2 and 2 and the teacher's 0 and 1."""
    logs = np.log(np.exp([2, -1, 0.5]).sum()), np.log(np.exp([0, 0, 3]).sum())
    of_labels, of_teacher = (logs[0] - 0.5 + logs[1] - 3) / 2, (logs[0] - 2 + logs[1] - 0) / 2
    found = distill()(batch())
    assert found.total.item() == pytest.approx((of_labels + of_teacher) / 2, rel=1e-6)
    assert found.parts["label_loss"].item() == pytest.approx(of_labels, rel=1e-6)
    assert found.parts["teacher_loss"].item() == pytest.approx(of_teacher, rel=1e-6)
    assert found.parts["loss"].item() == found.total.item()
    assert found.parts["agreement"].item() == found.parts["top1"].item() == 0.5


def test_labels_are_smoothed_and_what_the_teacher_says_is_not() -> None:
    smooth, plain = distill(smoothing=0.3)(batch()), distill()(batch())
    assert smooth.parts["teacher_loss"] == plain.parts["teacher_loss"]
    assert smooth.parts["label_loss"].item() == pytest.approx(
        F.cross_entropy(LOGITS, LABELS, label_smoothing=0.3).item(), rel=1e-6)


@pytest.mark.parametrize("temperature", [1.0, 3.0, 20.0])
def test_soft_equals_the_divergence_of_another_library(temperature: float) -> None:
    teacher, student = (softmax(one.double().numpy() / temperature, axis=1) for one in (ANSWERS, LOGITS))
    expected = temperature**2 * entropy(teacher, student, axis=1).mean()
    found = distill(kind="soft", temperature=temperature, share=0.25)(batch())
    assert found.parts["teacher_loss"].item() == pytest.approx(expected, rel=1e-4)
    labels = F.cross_entropy(LOGITS.double(), LABELS).item()
    assert found.total.item() == pytest.approx(0.75 * labels + 0.25 * expected, rel=1e-5)


def test_soft_of_sigmoids_is_the_divergence_of_every_class() -> None:
    teacher, student = (expit(one.double().numpy() / 2) for one in (ANSWERS, LOGITS))
    each = rel_entr(teacher, student) + rel_entr(1 - teacher, 1 - student)
    rows = torch.tensor([[1.0, 0, 1], [0, 1, 1]])
    found = distill(loss="sigmoid", multilabel=True, kind="soft", temperature=2.0)(batch(rows))
    assert found.parts["teacher_loss"].item() == pytest.approx(4 * each.sum(1).mean(), rel=1e-4)
    assert "top1" not in found.parts


def test_hard_of_sigmoids_is_one_class_of_many() -> None:
    best = torch.tensor([[1.0, 0, 0], [0, 1, 0]], dtype=torch.float64)
    expected = F.binary_cross_entropy_with_logits(LOGITS.double(), best, reduction="none").sum(1).mean()
    assert distill(loss="sigmoid")(batch()).parts["teacher_loss"].item() == pytest.approx(expected.item(), rel=1e-6)


@pytest.mark.parametrize("loss", ["softmax", "sigmoid"])
def test_a_student_that_answers_as_its_teacher_has_nothing_to_learn(loss: str) -> None:
    logits = ANSWERS.clone().requires_grad_()
    apart = divergence(logits, ANSWERS, loss, 2.0)  # type: ignore[arg-type]
    apart.backward()
    assert apart.item() == pytest.approx(0, abs=1e-6)
    assert logits.grad.abs().max() < 1e-6


@pytest.mark.parametrize("loss", ["softmax", "sigmoid"])
def test_gradients_keep_their_size_at_high_temperatures(loss: str) -> None:
    """What the square of the temperature is for: without it they would shrink by 25 from 20 to 100."""
    sizes = []
    for temperature in (20.0, 100.0):
        logits = LOGITS.clone().requires_grad_()
        divergence(logits, ANSWERS, loss, temperature).backward()  # type: ignore[arg-type]
        sizes.append(float(logits.grad.norm()))
    assert sizes[1] == pytest.approx(sizes[0], rel=0.1)


def test_a_mixed_picture_has_the_teachers_answer_to_the_mixture() -> None:
    rows = torch.tensor([[0.0, 0.3, 0.7], [0.6, 0, 0.4]])
    found = distill(share=0.25)(batch(rows))
    expected = 0.75 * F.cross_entropy(LOGITS, rows) + 0.25 * F.cross_entropy(LOGITS, ANSWERS.argmax(-1))
    assert found.total.item() == pytest.approx(expected.item(), rel=1e-6)


class Mean(nn.Module):
    """Logits are the mean colors of the picture; remembers what it was shown."""

    def __init__(self) -> None:
        super().__init__()
        self.norm = nn.BatchNorm2d(3)  # would learn from what it sees if it were in training
        self.seen: list[torch.Tensor] = []

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        self.seen.append(images)
        return self.norm(images).mean((2, 3))


def test_the_teacher_sees_the_same_pictures_at_its_own_size_and_normalization() -> None:
    images = torch.randint(0, 256, (2, 3, 16, 16), dtype=torch.uint8)
    model = Mean()
    teacher = Teacher(model.train(), lambda raw: (raw.float() / 255 - 0.4) / 0.2, (8, 4))
    answers = teacher.logits(images)
    assert model.seen[0].shape == (2, 3, 8, 4)
    assert not model.norm.running_mean.any()
    plain = ((images.double() / 255 - 0.4) / 0.2).reshape(2, 3, 8, 2, 4, 4)
    expected = plain.mean((2, 3, 4, 5))  # antialiased: every pixel counts, those of the middle most alike
    torch.testing.assert_close(answers.double(), expected, atol=0.2, rtol=0)
    assert not answers.requires_grad
    Teacher(model, torch.Tensor.float, (16, 16)).logits(images)
    assert torch.equal(model.seen[1], images.float())


def test_nothing_of_the_teacher_belongs_to_the_objective() -> None:
    objective = distill()
    assert [name for name, _ in objective.named_parameters()] == ["model.logits"]
    assert list(objective.state_dict()) == ["model.logits"]
    objective.train().double()
    teacher = objective.teacher.model
    assert not teacher.training
    assert next(teacher.parameters()).dtype == torch.float32
    objective(batch()).total.backward()
    assert all(value.grad is None and not value.requires_grad for value in teacher.parameters())


def test_a_student_learns_from_its_teacher_where_the_labels_are_noise() -> None:
    """The brightest color is the class; labels say nothing of it."""
    generator = torch.Generator().manual_seed(0)
    images = torch.randint(0, 256, (512, 3, 2, 2), dtype=torch.uint8, generator=generator)
    noise = torch.randint(0, 3, (512,), generator=generator)

    class Brightest(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.scale = nn.Parameter(torch.tensor(20.0))

        def forward(self, images: torch.Tensor) -> torch.Tensor:
            return images.mean((2, 3)) * self.scale

    truth = images.float().mean((2, 3)).argmax(-1)
    accuracy = {}
    for kind in ("hard", "soft", None):
        torch.manual_seed(0)
        model = nn.Sequential(nn.Flatten(), nn.Linear(12, 3))
        student = Classify(model, lambda raw: raw.float() / 255)
        objective = Distill(student, Teacher(Brightest(), lambda raw: raw.float() / 255, (2, 2)), kind=kind,  # type: ignore[arg-type]
                            share=1.0, temperature=1.0) if kind else student
        optimizer = torch.optim.Adam(objective.parameters(), lr=0.05)
        for _ in range(100):
            optimizer.zero_grad()
            objective(batch(noise, images)).total.backward()
            optimizer.step()
        accuracy[kind] = float((model(images.float() / 255).argmax(-1) == truth).float().mean())
    assert accuracy["hard"] > 0.9
    assert accuracy["soft"] > 0.9
    assert accuracy[None] < 0.6
