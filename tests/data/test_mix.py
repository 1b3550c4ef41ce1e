"""Mixup and cutmix against their definitions; and that no cutting of the batch changes anything."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy.stats import beta as beta_distribution
from scipy.stats import chisquare, kstest

from vitrail.data.augment import Augmentation
from vitrail.data.mix import Mixture, beta, groups, mixed, mixture
from vitrail.data.order import MIX, Draws
from vitrail.data.preprocess import Preprocess
from vitrail.errors import UsageError
from vitrail.vocabulary import Batch

CLASSES = 5
CHOICES = [{"mixup": 0.2}, {"mixup": 1.0}, {"cutmix": 1.0}, {"mixup": 0.8, "cutmix": 1.0}]
choices = pytest.mark.parametrize("choice", CHOICES, ids=str)


def batch(count: int = 16, start: int = 0, size: tuple[int, int] = (6, 8)) -> Batch:
    random = torch.Generator().manual_seed(start)
    return Batch({"image": torch.randint(0, 256, (count, 3, *size), generator=random, dtype=torch.uint8)},
                 torch.arange(count) % CLASSES, torch.arange(count), torch.arange(start, start + count))


def part(whole: Batch, rows: slice) -> Batch:
    return Batch({"image": whole.views["image"][rows]}, whole.targets[rows], whole.indices[rows], whole.positions[rows])


def mix(given: Batch, batch_size: int | None = None, seed: int = 0, group: int = 4, **choice: float) -> Batch:
    return mixed(given, Augmentation(mix_group=group, **choice), classes=CLASSES, seed=seed,
                 batch_size=batch_size or len(given.targets))


@choices
def test_pictures_and_targets_are_mixed_alike(choice: dict[str, float]) -> None:
    """Each group by the definition, from the mixture that its draws give."""
    given = batch()
    result = mix(given, **choice)
    images, labels = given.views["image"].double(), torch.nn.functional.one_hot(given.targets, CLASSES).double()
    for start in range(0, 16, 4):
        rows = slice(start, start + 4)
        how = mixture(rows, (6, 8), Augmentation(**choice), Draws(MIX, 0, start))
        partners = images[rows].roll(1, 0)
        expected = how.share * images[rows] + (1 - how.share) * partners
        if how.box is not None:
            expected = images[rows].clone()
            expected[:, :, *how.box] = partners[:, :, *how.box]
        assert torch.equal(result.views["image"][rows], (expected - 0.5).ceil().to(torch.uint8))
        rolled = labels[rows].roll(1, 0)
        assert torch.allclose(result.targets[rows].double(), how.share * labels[rows] + (1 - how.share) * rolled)
    assert result.targets.dtype == torch.float32
    assert torch.allclose(result.targets.sum(1), torch.ones(16))
    assert (result.indices is given.indices, result.positions is given.positions) == (True, True)


def test_mixing_before_normalizing_is_mixing_after_it() -> None:
    """To half a grey level."""
    given, normalize = batch(), Preprocess(size=(6, 8), mean=(0.4, 0.5, 0.6), std=(0.2, 0.3, 0.4)).normalize
    result, images = mix(given, mixup=1.0), normalize(given.views["image"])
    for row in range(16):
        before = row - 1 if row % 4 else row + 3
        own = float(result.targets[row, row % CLASSES])
        expected = own * images[row] + (1 - own) * images[before]
        assert (normalize(result.views["image"][row:row + 1])[0] - expected).abs().max() <= 0.5 / (255 * 0.2) + 1e-6


@choices
@pytest.mark.parametrize("parts", [2, 4])
def test_ranks_get_what_one_process_gets(choice: dict[str, float], parts: int) -> None:
    whole = batch(32, start=96)
    together = mix(whole, **choice)
    share = 32 // parts
    for rank in range(parts):
        rows = slice(rank * share, (rank + 1) * share)
        alone = mix(part(whole, rows), batch_size=32, **choice)
        assert torch.equal(alone.views["image"], together.views["image"][rows])
        assert torch.equal(alone.targets, together.targets[rows])


def test_seed_and_position_decide() -> None:
    given = batch()
    assert torch.equal(mix(given, mixup=1.0).targets, mix(given, mixup=1.0).targets)
    later = replace(given, positions=given.positions + 16)
    assert not torch.equal(mix(given, mixup=1.0).targets, mix(later, mixup=1.0).targets)
    assert not torch.equal(mix(given, mixup=1.0).targets, mix(given, seed=1, mixup=1.0).targets)
    kept = mix(given, mixup=1.0).targets.max(1).values.reshape(4, 4)
    assert (kept == kept[:, :1]).all()  # one share in a group
    assert len(set(kept[:, 0].tolist())) == 4  # and another in each


def test_nothing_happens_by_default() -> None:
    given = batch()
    assert mixed(given, Augmentation(), classes=CLASSES, seed=0, batch_size=16) is given


@pytest.mark.parametrize("count", [1, 3, 5, 9])
def test_the_last_group_may_be_small(count: int) -> None:
    given = batch(count)
    result = mix(given, mixup=1.0)
    assert torch.allclose(result.targets.sum(1), torch.ones(count))
    if count % 4 == 1:  # alone, it is mixed with itself
        assert torch.equal(result.views["image"][-1], given.views["image"][-1])
        assert result.targets[-1, given.targets[-1]] == 1


def test_several_labels_are_mixed_too() -> None:
    rows = [[1.0, 1, 0, 0, 0], [0, 0, 0, 0, 0], [1, 1, 1, 1, 1], [0, 0, 0, 0, 1]]
    given = replace(batch(4), targets=torch.tensor(rows))
    result = mix(given, mixup=1.0)
    share = result.targets[0, 0]
    assert 0.5 <= share < 1
    assert torch.allclose(result.targets[1], (1 - share) * given.targets[0])


@pytest.mark.parametrize(("offset", "count", "batch_size"), [(2, 4, 12), (0, 6, 12), (4, 2, 12), (6, 6, 12)])
def test_groups_that_a_rank_would_cut_are_refused(offset: int, count: int, batch_size: int) -> None:
    with pytest.raises(UsageError, match=r"not whole groups of 4 to mix\. Set augmentation\.mix_group to a divisor of"):
        groups(offset, count, 4, batch_size)


def test_groups_cover_every_row_once() -> None:
    assert groups(8, 8, 4, 24) == [slice(0, 4), slice(4, 8)]
    assert groups(8, 6, 4, 14) == [slice(0, 4), slice(4, 6)]


@pytest.mark.parametrize("parameter", [0.05, 0.2, 0.5, 1.0, 2.0, 8.0])
def test_beta_is_distributed_as_scipys(parameter: float) -> None:
    numbers = [beta(parameter, Draws(MIX, 0, sample)) for sample in range(4000)]
    assert min(numbers) >= 0
    assert max(numbers) <= 1
    edges = np.array([0, 0.3, 0.4, 0.5, 0.6, 0.7, 1])
    expected = 4000 * np.diff(beta_distribution(parameter, parameter).cdf(edges))
    assert chisquare(np.histogram(numbers, edges)[0], expected).pvalue > 0.001
    if parameter >= 0.5:  # below, many numbers are so near to 1 that only 1 can be written
        assert kstest(numbers, beta_distribution(parameter, parameter).cdf).pvalue > 0.01


def test_small_parameters_do_not_overflow() -> None:
    assert all(0 <= beta(1e-6, Draws(MIX, 1, sample)) <= 1 for sample in range(200))


def drawn(count: int, size: tuple[int, int] = (32, 32), **choice: float) -> list[Mixture]:
    return [mixture(slice(0, 4), size, Augmentation(**choice), Draws(MIX, 0, sample)) for sample in range(count)]


def test_mixup_keeps_at_least_half() -> None:
    shares = [one.share for one in drawn(4000, mixup=0.4)]
    assert min(shares) >= 0.5
    folded = beta_distribution(0.4, 0.4)
    counts = np.histogram(shares, [0.5, 0.6, 0.7, 0.8, 0.9, 1.0001])[0]
    edges = np.array([0.5, 0.6, 0.7, 0.8, 0.9, 1.0])
    assert chisquare(counts, 4000 * 2 * np.diff(folded.cdf(edges))).pvalue > 0.001


def test_cutmix_counts_what_is_really_covered() -> None:
    for one in drawn(300, size=(31, 17), cutmix=1.0):
        assert one.box is not None
        mask = np.zeros((31, 17))
        mask[one.box] = 1
        assert one.share == pytest.approx(1 - mask.mean())
    shares = [one.share for one in drawn(2000, size=(500, 500), cutmix=1.0)]
    # Boxes that are not cut off have evenly distributed areas; those that are make shares larger.
    assert 0.5 < np.mean(shares) < 0.75


def test_both_are_drawn_alike() -> None:
    boxes = sum(one.box is not None for one in drawn(2000, mixup=0.2, cutmix=1.0))
    assert chisquare([boxes, 2000 - boxes]).pvalue > 0.001


@pytest.mark.parametrize("size", [(1, 1), (1, 7), (2, 2)])
def test_tiny_pictures_can_be_mixed(size: tuple[int, int]) -> None:
    for choice in CHOICES:
        assert mix(batch(8, size=size), **choice).views["image"].shape == (8, 3, *size)
