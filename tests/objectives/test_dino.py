"""Self-distillation: its losses against independent ones, who learns, the center, the schedules, and every model."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
from distilling import batch_of, dino
from scipy.special import log_softmax, softmax
from torch import Tensor

from vitrail.errors import UsageError
from vitrail.models import create, describe
from vitrail.objectives import Dino, DinoSettings
from vitrail.objectives.components import feature_pictures, likeness, principal_colors
from vitrail.objectives.dino import between
from vitrail.objectives.ibot import IbotSettings, embed_with_patches, masks, patch_loss
from vitrail.objectives.koleo import koleo
from vitrail.vocabulary import Batch

BOTH = {"koleo": {"weight": 0.1, "group": 4}, "ibot": {"weight": 1.0}}


def part(batch: Batch, rows: slice) -> Batch:
    return Batch({name: view[rows] for name, view in batch.views.items()}, batch.targets[rows], batch.indices[rows],
                 batch.positions[rows])


def apart(objective: Dino) -> Dino:
    """A teacher that is another one than its student, and a center."""
    random = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for value in objective.teacher.parameters():
            value.add_(0.05 * torch.randn(value.shape, generator=random))
        for center in objective.memory().values():
            center.copy_(0.1 * torch.randn(center.shape, generator=random))
    return objective


def total(values: Tensor) -> Tensor:
    """Of one process."""
    return values


# The losses.


def expected_view_loss(teacher: np.ndarray, student: np.ndarray, center: np.ndarray, cold: float) -> float:
    """As algorithm 1 of the paper, in loops: [images, 2, prototypes] and [images, crops, prototypes]."""
    terms = []
    for image in range(len(teacher)):
        for seen in range(2):
            wanted = softmax((teacher[image, seen] - center) / cold)
            for crop in range(student.shape[1]):
                if crop != seen:
                    terms.append(-np.sum(wanted * log_softmax(student[image, crop] / 0.1)))
    return float(np.mean(terms))


@pytest.mark.parametrize("local", [0, 3])
def test_the_loss_equals_an_independent_one(local: int) -> None:
    objective, batch = apart(dino(local=local)), batch_of(local=local)
    objective.begin_step(0.15)  # half of the warmup: 0.04 to 0.07
    with torch.no_grad():
        def answers(network: Any, heads: Any, view: str) -> np.ndarray:
            crops = batch.views[view]
            images = objective.normalize(crops.flatten(0, 1))
            return heads.images(network.embed(images)).unflatten(0, crops.shape[:2]).double().numpy()

        teacher = answers(objective.teacher.model, objective.teacher.heads, "global")
        student = answers(objective.model, objective.heads, "global")
        if local:
            student = np.concatenate((student, answers(objective.model, objective.heads, "local")), axis=1)
    center = objective.memory()["center.images"].double().numpy()
    found = objective(batch)
    assert found.total.item() == pytest.approx(expected_view_loss(teacher, student, center, 0.055), rel=1e-4)
    assert found.parts["loss"] == found.parts["view_loss"] == found.total
    wanted = softmax((teacher - center) / 0.055, axis=-1)
    entropy = -(wanted * np.log(wanted)).sum(-1).mean()
    assert found.parts["teacher_entropy"].item() == pytest.approx(entropy, rel=1e-4)
    assert found.parts["divergence"].item() == pytest.approx(found.total.item() - entropy, rel=1e-3)


def test_answers_that_are_the_teachers_have_its_entropy_and_no_more() -> None:
    targets = torch.softmax(torch.randn(5, 2, 7), -1)
    same = targets[:, :1].expand(-1, 2, -1)
    loss = between(same, same.log().repeat(1, 2, 1))
    assert loss.item() == pytest.approx(-(same * same.log()).sum(-1).mean().item(), rel=1e-5)
    assert between(targets, torch.zeros(5, 4, 7)).item() == pytest.approx(math.log(7), rel=1e-6)


def test_cosines_hang_on_directions_alone() -> None:
    objective = dino()
    features = torch.randn(5, 32)
    answers = objective.heads.images(features)
    assert answers.abs().max() <= 1 + 1e-6
    with torch.no_grad():
        objective.heads.images.prototypes.weight.mul_(7.0)
    torch.testing.assert_close(objective.heads.images(features), answers)


def test_koleo_equals_an_independent_one_by_groups() -> None:
    features, group = torch.randn(10, 6, dtype=torch.float64), 4
    positions = torch.arange(3, 13)  # groups of 1, 4, 4 and 1
    unit = (features / features.norm(dim=1, keepdim=True)).numpy()
    terms = [0.0]
    for rows in (range(1, 5), range(5, 9)):
        for one in rows:
            distances = [np.linalg.norm(unit[one] - unit[other]) for other in rows if other != one]
            terms.append(-math.log(min(distances)))
    assert koleo(features.float(), positions, group).item() == pytest.approx(sum(terms) / 10, rel=1e-4)
    assert koleo(features[:1].float(), positions[:1], group).item() == 0
    twins = torch.ones(2, 3, requires_grad=True)
    koleo(twins, torch.arange(2), 2).backward()
    assert twins.grad is not None
    assert twins.grad.isfinite().all()


def test_koleo_drives_features_apart() -> None:
    random = torch.Generator().manual_seed(0)
    features = (torch.ones(8, 3) + 0.01 * torch.randn(8, 3, generator=random)).requires_grad_()
    optimizer = torch.optim.Adam([features], lr=0.05)
    before = koleo(features, torch.arange(8), 8).item()
    for _ in range(100):
        optimizer.zero_grad()
        koleo(features, torch.arange(8), 8).backward()
        optimizer.step()
    assert koleo(features, torch.arange(8), 8).item() < before - 2  # more than seven times as far


def test_the_patch_loss_equals_an_independent_one() -> None:
    hidden = torch.tensor([[True, False, True], [False, False, False], [False, True, False], [True, True, True]])
    count = int(hidden.sum())
    targets, logits = torch.softmax(torch.randn(count, 5), -1), torch.randn(count, 5)
    each = iter([-(target * log_softmax(logit)).sum() for target, logit in zip(targets.numpy(), logits.numpy(),
                                                                             strict=True)])
    by_crop = [[next(each) for _ in range(int(row.sum()))] for row in hidden]
    expected = sum(np.mean(row) if row else 0.0 for row in by_crop) / 4
    assert patch_loss(targets, logits, hidden).item() == pytest.approx(expected, rel=1e-5)
    nothing = torch.zeros(0, 5, requires_grad=True)
    patch_loss(torch.zeros(0, 5), nothing, torch.zeros(4, 3, dtype=torch.bool)).backward()
    assert nothing.grad is not None


def test_patches_are_hidden_as_often_as_they_should_be_and_by_position() -> None:
    settings = IbotSettings(weight=1.0, images=0.5, masked=(0.1, 0.5))
    found = masks(settings, 3, torch.arange(4000), 2, 50)
    shares = found.float().mean(-1)
    assert (shares > 0).float().mean().item() == pytest.approx(0.5, abs=4 * math.sqrt(0.25 / 8000))
    some = shares[shares > 0]
    assert 0.1 <= some.min() < 0.12
    assert 0.48 < some.max() <= 0.5
    assert some.mean().item() == pytest.approx(0.3, abs=0.01)
    by_place = found.float().mean((0, 1))
    assert (by_place - 0.15).abs().max() < 5 * math.sqrt(0.15 * 0.85 / 8000)
    assert torch.equal(masks(settings, 3, torch.arange(7, 9), 2, 50), found[7:9])
    assert not torch.equal(masks(settings, 4, torch.arange(4000), 2, 50), found)
    assert not torch.equal(found[:, 0], found[:, 1])
    few = masks(IbotSettings(weight=1.0, images=1.0, masked=(0.01, 0.99)), 0, torch.arange(500), 1, 4).sum(-1)
    assert (int(few.min()), int(few.max())) == (1, 3)


@pytest.mark.parametrize("fields", [{}, {"pooling": "mean"}, {"pooling": "mean", "norm_at": "pooled"},
                                    {"pooling": "attention"}, {"registers": 2}], ids=str)
def test_what_is_hidden_is_not_seen_and_the_rest_is_as_ever(fields: dict[str, Any]) -> None:
    model = create("mu/4", classes=0, image_size=16, **fields)
    images, mask = torch.randn(2, 3, 16, 16), torch.randn(32)
    hidden = torch.zeros(2, 16, dtype=torch.bool)
    whole, patches = embed_with_patches(model, images, None, None)
    torch.testing.assert_close(whole, model.embed(images), atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(embed_with_patches(model, images, hidden, mask)[0], whole)
    assert patches.shape == (2, 16, 32)
    hidden[:, 5] = True  # second row, second column
    changed = images.clone()
    changed[:, :, 4:8, 4:8] += 1.0
    ours, theirs = (embed_with_patches(model, one, hidden, mask)[0] for one in (images, changed))
    assert torch.equal(ours, theirs)
    assert not torch.allclose(model.embed(images), model.embed(changed))


# Who learns.


@pytest.mark.parametrize("settings", [{}, BOTH, {"ibot": {"weight": 1.0, "head": "own"}}], ids=str)
def test_the_teacher_gets_no_gradient_and_all_of_the_student_does(settings: dict[str, Any]) -> None:
    objective = apart(dino(**settings)).train()
    objective(batch_of()).total.backward()
    own = {name: value for name, value in objective.named_parameters() if not name.startswith("teacher.")}
    assert all(value.grad is not None for name, value in own.items() if value.numel())
    assert all(value.grad is None and not value.requires_grad for value in objective.teacher.parameters())
    followed = dict(objective.follower().named_parameters())
    assert followed.keys() == {name for name in own if name != "mask"}
    assert all(followed[name].shape == own[name].shape for name in followed)
    assert ("patches" in str(objective.memory().keys())) == ("ibot" in settings)


def test_the_teacher_drops_nothing_out() -> None:
    objective = dino(fields={"dropout": 0.5}).train()
    assert objective.model.training
    assert not any(part.training for part in objective.teacher.modules())
    batch = batch_of()
    images = objective.pixels(batch, "global")
    assert torch.equal(objective.targets(images, None)[0], objective.targets(images, None)[0])


@pytest.mark.parametrize("settings", [{}, BOTH], ids=["plain", "koleo and ibot"])
def test_parts_of_a_batch_add_up_to_its_loss_and_its_center(settings: dict[str, Any]) -> None:
    whole, parts = (apart(dino(**settings)).train() for _ in range(2))
    batch = batch_of(8)
    for objective, rows in ((whole, [slice(0, 8)]), (parts, [slice(0, 4), slice(4, 8)])):
        objective.begin_step(0.5)
        losses = [objective(part(batch, one)) for one in rows]
        objective.total = sum(one.total.item() for one in losses) / len(losses)  # type: ignore[assignment]
        objective.end_step(total)
    assert parts.total == pytest.approx(whole.total, rel=1e-5)
    for name, center in whole.memory().items():
        torch.testing.assert_close(parts.memory()[name], center)


def test_the_center_is_the_running_mean_of_what_the_teacher_says() -> None:
    objective, expected = apart(dino()).train(), None
    for step in range(3):
        batch = batch_of(6, first=6 * step)
        before = objective.memory()["center.images"].clone()
        objective.begin_step(step / 3)
        with torch.no_grad():
            answers = objective.teacher.heads.images(objective.teacher.model.embed(objective.pixels(batch, "global")))
        first = objective(part(batch, slice(0, 3))).total
        assert torch.equal(objective.memory()["center.images"], before)  # not within a step
        assert torch.equal(first, objective.eval()(part(batch, slice(0, 3))).total)
        objective.train()(part(batch, slice(3, 6)))
        objective.end_step(lambda values: values * 2)  # another process has seen the same
        expected = 0.9 * before + 0.1 * answers.mean(0)
        torch.testing.assert_close(objective.memory()["center.images"], expected)
    objective.begin_step(0.9)
    objective(batch_of())
    objective.begin_step(1.0)  # of a trial: nothing of it is left
    assert not objective.sums


def test_schedules_by_hand() -> None:
    objective = dino(momentum=0.99, temperature_warmup=0.5, hold_prototypes=0.1)
    expected = {0.0: (0.04, 0.99, True), 0.05: (0.043, None, True), 0.1: (0.046, None, False),
                0.5: (0.07, 0.995, False), 0.75: (0.07, None, False), 1.0: (0.07, 1.0, False)}
    for progress, (temperature, kept, held) in expected.items():
        objective.begin_step(progress)
        assert objective.temperature == pytest.approx(temperature)
        assert kept is None or objective.kept(progress) == pytest.approx(kept)
        assert objective.held == ({"heads.images.prototypes.weight"} if held else set())
    assert objective.held <= dict(objective.named_parameters()).keys() or not objective.held
    own = dino(ibot={"weight": 1.0, "head": "own"}, hold_prototypes=0.1)
    own.begin_step(0.0)
    assert own.held == {"heads.images.prototypes.weight", "heads.patches.prototypes.weight"}
    assert own.held <= dict(own.named_parameters()).keys()


@pytest.mark.parametrize("settings", [{}, BOTH], ids=["plain", "koleo and ibot"])
def test_the_loss_falls_on_a_tiny_batch(settings: dict[str, Any]) -> None:
    """With a teacher that stays, so that it has a floor: the teacher's entropy."""
    objective, batch = apart(dino(**settings)).train(), batch_of(4)
    optimizer = torch.optim.Adam([value for value in objective.parameters() if value.requires_grad], lr=3e-3)
    gone = []
    for _ in range(60):
        optimizer.zero_grad()
        losses = objective(batch)
        gone.append(losses.parts["divergence"].item())
        losses.total.backward()
        optimizer.step()
    assert gone[-1] < 0.3 * gone[0]


def test_centers_stay_in_fp32_and_move_with_the_parameters() -> None:
    objective = dino().to(torch.bfloat16)
    assert objective.memory()["center.images"].dtype == torch.float32
    assert objective(batch_of()).total.dtype == torch.float32
    assert dino().to("meta").memory()["center.images"].device.type == "meta"


MODELS: list[tuple[str, int, int, dict[str, Any]]] = [
    *[("mu/4", 16, 8, {"positions": positions}) for positions in (
        "none", "learned", "learned-2d", "relative", "sincos-2d", "rotary-2d", "relative-bias")],
    ("R26x0.25", 32, 16, {}), ("axial-R26x0.25", 32, 16, {}), ("axial-Ti/4", 16, 8, {"depth": 1})]


@pytest.mark.parametrize(("name", "size", "local", "fields"), MODELS, ids=str)
def test_every_model_learns_from_crops_of_both_sizes(name: str, size: int, local: int, fields: dict[str, Any]) -> None:
    objective = dino(name, size, 2, local, fields).train()
    objective(batch_of(2, size, 2, local)).total.backward()
    assert all(value.grad is not None and value.grad.isfinite().all() for value in objective.parameters()
               if value.requires_grad and value.numel())
    shown = objective.shown(Batch({"image": torch.randint(0, 256, (3, 3, size, size), dtype=torch.uint8)},
                                  torch.zeros(3, dtype=torch.int64), torch.arange(3), torch.arange(3)))
    assert len(shown) == 3
    assert all(picture.shape == (3, size, size) and picture.dtype == torch.uint8 for one in shown for picture in one)


@pytest.mark.parametrize(("given", "words"), [
    ({"local_size": 6}, "local_size.*6x6"),
    ({"model": "R26x0.25", "size": 32, "local_size": 16, "ibot": {"weight": 1.0}}, "cannot guess masked patches")])
def test_models_that_make_no_sense_are_refused(given: dict[str, Any], words: str) -> None:
    with pytest.raises(UsageError, match=words):
        dino(**given)


@pytest.mark.parametrize(("given", "words"), [
    ({"teacher_temperature": (0.04, 0.2)}, "has to be the surer one"),
    ({"prototypes": 1}, "greater than or equal to 2"),
    ({"momentum": 1.5}, "less than or equal to 1"), ({"ibot": {"masked": (0.5, 0.1)}}, "no range of shares"),
    ({"koleo": {"group": 1}}, "greater than or equal to 2"), ({"temperature": 1}, "Extra inputs")])
def test_settings_that_make_no_sense_are_refused(given: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        DinoSettings.model_validate(given)


def test_multiply_adds_are_those_of_all_crops_and_heads() -> None:
    objective = dino(local=3, local_size=8)  # of a quarter of the pixels
    model, head = describe(objective.model.config).macs, 32 * 32 + 32 * 32 + 32 * 16 + 16 * 24
    assert objective.images_each() == 2.75
    assert objective.macs() == round(2.75 * model + 5 * head + 2 * (model + head) / 3)
    with_patches = dino(local=0, ibot={"weight": 1.0, "images": 1.0, "masked": (0.25, 0.25)})  # 4 of 16 in each
    assert with_patches.macs() == round(2 * model + 10 * head + (2 * model + 10 * head) / 3)


# What is told of it.


def test_collapses_of_both_kinds_are_seen() -> None:
    objective = dino()
    even = torch.full((24,), 4.0, dtype=torch.float64)
    one = torch.zeros(24, dtype=torch.float64)
    one[3] = 96
    assert objective.constant_loss(even) == pytest.approx(math.log(24))
    assert objective.constant_loss(one) == 0
    assert "collapsed: it gives all images the same prototype" in objective.standstill(0.0, 0.0, True)
    assert "spread evenly" in objective.standstill(math.log(24), 0.0, False)
    assert "do not hang on the image" in objective.standstill(1.5, 0.0, False)


def test_answers_are_counted_in_training_alone_and_told_once() -> None:
    objective, batch = apart(dino()), batch_of(8)
    objective.eval()(batch)
    assert objective.counted().tolist() == []
    objective.train()(part(batch, slice(0, 5)))
    objective(part(batch, slice(5, 8)))
    counted = objective.counted()
    assert counted.sum().item() == pytest.approx(16)
    expected = objective.targets(objective.pixels(batch, "global"), None)[0].double().sum((0, 1))
    torch.testing.assert_close(counted, expected, atol=1e-5, rtol=1e-5)
    objective.counted()
    assert objective.counted().tolist() == []


def test_components_of_two_known_directions() -> None:
    """The left half differs from the right one in one direction, and a little the upper from the lower in another."""
    features = torch.zeros(2, 8, 4, 4)
    features[:, 0, :, 2:] = 4.0
    features[:, 1, 2:] = 1.0
    colors = principal_colors(features)
    assert torch.equal(colors[:, 0, :, 2:], torch.ones(2, 4, 2))
    assert not colors[:, 0, :, :2].any()
    assert torch.equal(colors[:, 1, 2:], torch.ones(2, 2, 4))
    assert not colors[:, 1, :2].any()
    alike = likeness(features)
    assert (alike[:, 2:, 2:] > 0.999).all()
    assert (alike[:, :, :2] < 0.5).all()
    few = feature_pictures(torch.zeros(1, 3, 6, 6, dtype=torch.uint8), torch.ones(1, 2, 1, 1))
    assert few[0].guess.shape == (3, 6, 6)
