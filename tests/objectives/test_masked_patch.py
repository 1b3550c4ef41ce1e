"""Masked patch prediction: what is corrupted and how, what is to be guessed, and who learns from it."""

from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from vitrail.data.preprocess import Preprocess
from vitrail.errors import UsageError
from vitrail.models import create
from vitrail.objectives import MaskedPatch, MaskedPatchSettings
from vitrail.objectives.chance import uniform
from vitrail.objectives.masked_patch import HIDDEN, KEPT, MASKED, OTHER, Corruption, corrupt, corrupted_patches, draw
from vitrail.objectives.patch_targets import TARGETS, TargetName, cut, joined
from vitrail.vocabulary import Batch


def batch_of(images: Tensor, first: int = 0) -> Batch:
    places = torch.arange(first, first + len(images))
    return Batch({"image": images}, torch.zeros(len(images), dtype=torch.int64), places, places)


def objective(target: TargetName = "mean-color", corrupted: float = 0.5, **fields: Any) -> MaskedPatch:
    torch.manual_seed(0)
    model = create("mu/4", classes=0, image_size=16, **fields)
    return MaskedPatch(model, Preprocess(size=16).normalize, MaskedPatchSettings(target=target, corrupted=corrupted))


def pictures(count: int, size: int = 16, seed: int = 0) -> Tensor:
    """Smooth ones, of which a patch tells about its neighbors."""
    coarse = torch.rand(count, 3, 2, 2, generator=torch.Generator().manual_seed(seed)) * 255
    return F.interpolate(coarse, (size, size), mode="bilinear").to(torch.uint8)


# Random numbers.


def splitmix64(state: int, count: int) -> list[int]:
    """As its author wrote it down (Vigna, 2015), with Python's whole numbers."""
    numbers, most = [], 2**64 - 1
    for _ in range(count):
        state = (state + 0x9E3779B97F4A7C15) & most
        z = state
        z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & most
        z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & most
        numbers.append(z ^ (z >> 31))
    return numbers


def test_random_numbers_are_those_of_splitmix64() -> None:
    seed, position, most = 12345, 987654321, 2**64 - 1
    inner = splitmix64((position * 0x9E3779B97F4A7C15 - 0x9E3779B97F4A7C15) & most, 1)[0]
    state = splitmix64(((inner ^ seed) - 0x9E3779B97F4A7C15) & most, 1)[0]
    expected = [(number >> 11) * 2.0**-53 for number in splitmix64(state, 5)]
    assert uniform(seed, torch.tensor([position]), 5)[0].tolist() == expected


def test_random_numbers_are_uniform_and_no_two_positions_or_seeds_share_them() -> None:
    numbers = uniform(0, torch.arange(2000), 50)
    assert 0 <= float(numbers.min()) <= float(numbers.max()) < 1
    counts = torch.histc(numbers.float(), 100, 0, 1)
    assert float(((counts - 1000).square() / 1000).sum()) < 150  # chi-square of 99 degrees: 150 is one in a thousand
    assert len(numbers.unique()) == 100_000
    neighbors = numbers[1:] - 0.5, numbers[:-1] - 0.5
    assert abs(float((neighbors[0] * neighbors[1]).mean()) * 12) < 0.02
    assert not torch.equal(uniform(1, torch.arange(3), 4), uniform(0, torch.arange(3), 4))


# Corruption.


def test_of_a_hundred_thousand_patches_as_many_are_corrupted_in_each_way_as_should_be() -> None:
    images, patches = 2000, 50
    places, kinds, others = draw(0, torch.arange(images), patches, 25)
    count = images * 25

    def within(found: int, of: int, share: float) -> bool:
        return abs(found - of * share) < 4 * np.sqrt(of * share * (1 - share))

    for kind, share in ((MASKED, 0.8), (OTHER, 0.1), (KEPT, 0.1)):
        assert within(int((kinds == kind).sum()), count, share)
    each = torch.bincount(places.flatten(), minlength=patches)
    assert all(within(int(one), images, 0.5) for one in each)
    assert all(len(row.unique()) == 25 for row in places)
    assert not (others == places).any()
    distance = torch.bincount(((others - places) % patches).flatten(), minlength=patches)[1:]
    assert all(within(int(one), count, 1 / (patches - 1)) for one in distance)
    both = ((places == 0).any(1) & (places == 1).any(1)).sum()  # patches are drawn apart, but for their number
    assert within(int(both), images, 0.5 * 24 / 49)


def test_an_image_is_corrupted_alike_wherever_it_stands_in_a_batch() -> None:
    whole = draw(3, torch.arange(8), 16, 8)
    part = draw(3, torch.arange(5, 7), 16, 8)
    assert all(torch.equal(ours[5:7], theirs) for ours, theirs in zip(whole, part, strict=True))


def test_corrupted_embeddings_are_masked_swapped_or_kept_and_others_stay() -> None:
    values = torch.arange(8.0).reshape(1, 4, 2)
    corruption = Corruption(torch.tensor([[0, 1, 3]]), torch.tensor([[MASKED, OTHER, KEPT]]), torch.tensor([[3, 0, 1]]))
    found = corrupt(values, torch.tensor([-1.0, -2.0]), corruption)
    assert found.tolist() == [[[-1, -2], [0, 1], [4, 5], [6, 7]]]  # the other patch as it was before


@pytest.mark.parametrize(("share", "patches", "number"), [(0.5, 49, 24), (0.15, 196, 29), (0.01, 16, 1), (0.99, 4, 3)])
def test_the_share_is_a_whole_number_of_patches(share: float, patches: int, number: int) -> None:
    assert corrupted_patches(share, patches) == number


# Targets.


def test_patches_are_cut_in_reading_order_and_put_back() -> None:
    images = torch.randint(0, 256, (2, 3, 8, 12), dtype=torch.uint8)
    patches = cut(images, (4, 6))
    assert torch.equal(patches[1, 1], images[1, :, :4, 6:])
    assert torch.equal(patches[0, 2], images[0, :, 4:, :6])
    assert torch.equal(joined(patches, (8, 12)), images)


@pytest.mark.parametrize(("color", "label"), [
    ((0, 0, 0), 0), ((255, 255, 255), 511), ((32, 0, 0), 64), ((31, 255, 64), 7 * 8 + 2),
    ((128, 96, 223), 4 * 64 + 30)])
def test_the_mean_color_has_three_bits_a_channel(color: tuple[int, int, int], label: int) -> None:
    patch = torch.tensor(color, dtype=torch.uint8)[None, None, :, None, None].expand(1, 1, 3, 16, 16).contiguous()
    assert TARGETS["mean-color"]((16, 16)).of(patch).tolist() == [[[label]]]
    patch[..., 0, 0] = 255 - patch[..., 0, 0]  # one pixel of 256 moves the mean by less than one
    mean = patch.double().mean((-2, -1)).flatten()
    expected = sum(int(value // 32) * 8**power for value, power in zip(mean, (2, 1, 0), strict=True))
    assert TARGETS["mean-color"]((16, 16)).of(patch).item() == expected


def test_a_mean_just_below_a_bound_is_not_rounded_up() -> None:
    patch = torch.full((1, 1, 3, 64, 64), 32, dtype=torch.uint8)
    patch[..., 0, 0] = 31
    assert TARGETS["mean-color"]((64, 64)).of(patch).item() == 0


def test_a_downsized_patch_has_sixteen_labels_in_reading_order() -> None:
    cells = torch.arange(16).reshape(4, 4) * 16  # of 8 x 12 pixels: cells of 2 x 3
    patch = cells.repeat_interleave(2, 0).repeat_interleave(3, 1).to(torch.uint8).expand(1, 1, 3, 8, 12)
    found = TARGETS["downsized"]((8, 12)).of(patch)[0, 0]
    assert found.tolist() == [(16 * cell // 32) * (64 + 8 + 1) for cell in range(16)]


def test_labels_do_not_depend_on_the_normalization() -> None:
    """Where they were made of normalized images, everything was one color and the loss fell to zero."""
    images = pictures(4)
    for mean, std in ((0.5, 0.5), (0.0, 1.0), (100.0, 0.01)):
        torch.manual_seed(0)
        preprocess = Preprocess(size=16, mean=(mean,) * 3, std=(std,) * 3)
        made = MaskedPatch(create("mu/4", classes=0, image_size=16), preprocess.normalize)
        labels = made.targets(images, made.corruption(batch_of(images)))
        assert len(labels.unique()) > 5
        assert torch.equal(labels, objective().targets(images, made.corruption(batch_of(images))))


@pytest.mark.parametrize("name", list(TARGETS))
def test_a_painted_target_is_the_same_target(name: TargetName) -> None:
    target = TARGETS[name]((8, 8))
    patches = torch.randint(0, 256, (2, 3, 3, 8, 8), dtype=torch.uint8)
    assert torch.equal(target.of(target.painted(target.of(patches))), target.of(patches))


# The loss.


def test_the_loss_of_colors_is_that_of_each_prediction() -> None:
    target = TARGETS["downsized"]((4, 4))
    predicted, labels = torch.randn(2, 3, 16 * 512), torch.randint(0, 512, (2, 3, 16))
    each = [F.cross_entropy(predicted[i, j, 512 * cell : 512 * (cell + 1)], labels[i, j, cell])
            for i in range(2) for j in range(3) for cell in range(16)]
    assert target.loss(predicted, labels)["loss"].item() == pytest.approx(float(torch.stack(each).mean()), rel=1e-5)
    sure = F.one_hot(labels, 512).float().flatten(2) * 50
    assert target.loss(sure, labels)["loss"].item() < 1e-3
    assert target.loss(sure, labels)["right"].item() == 1
    assert torch.equal(target.answer(sure), labels)


def test_the_constant_loss_is_the_entropy_of_what_was_counted() -> None:
    labels = torch.tensor([[[3], [3]], [[3], [500]]])
    target = TARGETS["mean-color"]((4, 4))
    counted = target.counted(labels[:1]) + target.counted(labels[1:])
    assert target.constant_loss(counted) == pytest.approx(-(0.75 * np.log(0.75) + 0.25 * np.log(0.25)))
    logits = counted.clamp(min=1e-30).log().float().expand(2, 2, -1)  # and no constant answer is better
    assert target.loss(logits, labels)["loss"].item() == pytest.approx(target.constant_loss(counted), rel=1e-5)
    assert target.constant_loss(target.counted(labels[:1])) == 0


def test_the_constant_loss_of_pixels_is_their_variance() -> None:
    rows = torch.rand(5, 4, 48)
    target = TARGETS["pixels"]((4, 4))
    counted = sum((target.counted(row[None]) for row in rows), torch.zeros(97))
    variance = rows.flatten(0, 1).var(0, correction=0).mean()
    assert target.constant_loss(counted) == pytest.approx(float(variance), rel=1e-5)


def test_counts_are_of_training_alone_and_are_taken_away() -> None:
    made, images = objective(), pictures(3)
    made.eval()(batch_of(images))
    assert len(made.counted()) == 0
    made.train()(batch_of(images))
    made(batch_of(images, 3))
    assert made.counted().sum() == 2 * 3 * 8
    assert len(made.counted()) == 0


# Who learns.


def gradients(made: MaskedPatch, loss: Tensor) -> dict[str, float]:
    made.zero_grad()
    loss.backward()
    return {name: float(value.grad.abs().sum()) for name, value in made.named_parameters()
            if value.grad is not None and value.grad.any()}


def test_the_gradient_reaches_the_mask_and_the_embeddings_that_stay(monkeypatch: pytest.MonkeyPatch) -> None:
    embeddings = torch.randn(1, 5, 2, requires_grad=True)
    mask = torch.zeros(2, requires_grad=True)
    corruption = Corruption(torch.tensor([[0, 1, 2]]), torch.tensor([[MASKED, OTHER, KEPT]]), torch.tensor([[4, 3, 4]]))
    corrupt(embeddings, mask, corruption).sum().backward()
    assert embeddings.grad is not None
    assert mask.grad is not None
    assert embeddings.grad[0, :, 0].tolist() == [0, 0, 1, 2, 1]  # 3 stands twice: in its place and in that of 1
    assert mask.grad.tolist() == [1, 1]


def test_a_masked_patch_is_invisible() -> None:
    """The prediction does not change when its pixels do; it does with those of a patch that is seen."""
    made, images = objective().eval(), pictures(1)
    corruption = made.corruption(batch_of(images))
    masked = int(corruption.places[0][corruption.kinds[0] == MASKED][0])
    used = corruption.others[0][corruption.kinds[0] == OTHER].tolist()
    seen = next(place for place in range(16) if place not in corruption.places[0].tolist())

    def changed(place: int) -> Tensor:
        patches = cut(images, (4, 4)).clone()
        patches[0, place] = 255 - patches[0, place]
        return made.predicted(joined(patches, (16, 16)), corruption)

    before = made.predicted(images, corruption)
    assert masked not in used
    assert torch.equal(changed(masked), before)
    assert not torch.allclose(changed(seen), before)


@pytest.mark.parametrize("fields", [{}, {"pooling": "mean"}, {"pooling": "attention"}, {"norm_at": "pooled"},
                                    {"pooling": "token+mean", "norm_at": "pooled"}, {"positions": "relative"}])
def test_everything_that_is_to_learn_gets_a_gradient(fields: dict[str, Any]) -> None:
    """Several processes wait for the gradient of every parameter; what pools the patches is not asked."""
    made = objective(**fields)
    reached = gradients(made, made(batch_of(pictures(4))).total)
    learning = {name for name, value in made.named_parameters() if value.requires_grad and value.numel()}
    assert set(reached) == learning
    assert {"mask", "prediction.weight", "model.patchify.weight"} <= learning
    assert not any(name.startswith("model.pool") for name in learning)


@pytest.mark.parametrize("target", list(TARGETS))
def test_the_loss_falls_on_a_tiny_batch(target: TargetName) -> None:
    made, batch = objective(target), batch_of(pictures(8))
    optimizer = torch.optim.Adam((value for value in made.parameters() if value.requires_grad), lr=3e-3)
    losses = []
    for _ in range(60):
        optimizer.zero_grad()
        loss = made(batch).total
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.5 * losses[0]
    assert losses[-1] < made.constant_loss(made.counted())


def test_parts_of_a_batch_add_up_to_the_whole() -> None:
    made, images = objective().eval(), pictures(6)
    whole = made(batch_of(images)).total
    parts = [made(batch_of(images[first : first + 2], first)).total for first in (0, 2, 4)]
    assert torch.stack(parts).mean().item() == pytest.approx(whole.item(), rel=1e-6)


def test_what_is_shown_differs_only_where_patches_were_corrupted() -> None:
    made, images = objective("pixels").eval(), pictures(2)
    corruption = made.corruption(batch_of(images))
    shown = made.shown(batch_of(images))
    for number, one in enumerate(shown):
        assert torch.equal(one.truth, images[number])
        kinds = dict(zip(corruption.places[number].tolist(), corruption.kinds[number].tolist(), strict=True))
        for place in range(16):
            seen, truth = (cut(part[None], (4, 4))[0, place] for part in (one.seen, one.truth))
            if kinds.get(place) == MASKED:
                assert seen.flatten(1).unique(dim=1).T.tolist() == [list(HIDDEN)]
            elif kinds.get(place) != OTHER:
                assert torch.equal(seen, truth)
            if place not in kinds:
                assert torch.equal(cut(one.guess[None], (4, 4))[0, place], truth)
    assert Counter(corruption.kinds.flatten().tolist())[MASKED]


# Models that cannot.


@pytest.mark.parametrize("name", ["R26x0.25", "R26+Ti/4"])
def test_convolutions_are_refused(name: str) -> None:
    with pytest.raises(UsageError, match="cannot guess masked patches"):
        MaskedPatch(create(name, classes=2, image_size=16), torch.Tensor.float)


def test_what_does_not_fit_is_refused() -> None:
    with pytest.raises(UsageError, match="single patch"):
        MaskedPatch(create("mu/4", classes=0, image_size=4), torch.Tensor.float)
    with pytest.raises(UsageError, match="2x2 pixels cannot be downsized"):
        MaskedPatch(create("mu/2", classes=0, image_size=4), torch.Tensor.float,
                    MaskedPatchSettings(target="downsized"))
