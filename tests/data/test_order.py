from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vitrail.data.order import (
    AUGMENT,
    ORDER,
    Draws,
    rank_slice,
    replacement,
    sample_order,
    stream_indices,
    worker_slices,
)
from vitrail.errors import UsageError

SEEDS = st.integers(-(2**70), 2**70)


@settings(max_examples=100, deadline=None)
@given(st.integers(1, 300), SEEDS, st.integers(0, 10**6))
def test_an_epoch_holds_every_sample_once(samples, seed, epoch):
    assert np.array_equal(np.sort(sample_order(samples, seed, epoch)), np.arange(samples))


@settings(max_examples=100, deadline=None)
@given(st.integers(1, 60), st.integers(1, 70), st.integers(0, 500), SEEDS)
def test_batches_of_any_size_from_any_start_give_the_same_stream(samples, batch, start, seed):
    whole, epochs = stream_indices(samples, seed, 0, start + 4 * batch)
    pieces = [stream_indices(samples, seed, start + step * batch, batch) for step in range(4)]
    assert np.array_equal(np.concatenate([indices for indices, _ in pieces]), whole[start:])
    assert np.array_equal(np.concatenate([epoch for _, epoch in pieces]), epochs[start:])
    complete = len(whole) // samples
    for epoch in range(complete):
        assert sorted(whole[epoch * samples:(epoch + 1) * samples]) == list(range(samples))
        assert (epochs[epoch * samples:(epoch + 1) * samples] == epoch).all()


@pytest.mark.parametrize("world", range(1, 17))
def test_ranks_only_cut_the_batch(world):
    batch = 16 * 9 * 5 * 7 * 11 * 13
    parts = [np.arange(batch)[rank_slice(batch, world, rank)] for rank in range(world)]
    assert {len(part) for part in parts} == {batch // world}
    assert np.array_equal(np.concatenate(parts), np.arange(batch))


@pytest.mark.fault("R6", "Going on with another number of processes loses and doubles no sample.")
@settings(max_examples=60, deadline=None)
@given(st.integers(1, 16), st.integers(1, 6), st.integers(1, 100), st.integers(0, 300))
def test_a_resume_with_another_world_loses_and_doubles_nothing(world, share, samples, cut):
    batch = world * share
    indices, _ = stream_indices(samples, 7, cut, batch)
    alone, _ = stream_indices(samples, 7, cut, batch)
    together = np.concatenate([indices[rank_slice(batch, world, rank)] for rank in range(world)])
    assert np.array_equal(together, alone)


def consumed(samples: int, seed: int, start: int, steps: int, batch: int, world: int, workers: int) -> np.ndarray:
    """Which samples all workers of all ranks take in some steps, in the order of the stream; as the loader cuts it."""
    steps_taken = []
    for step in range(steps):
        indices, _ = stream_indices(samples, seed, start + step * batch, batch)
        shares = [indices[rank_slice(batch, world, rank)] for rank in range(world)]
        steps_taken += [share[part] for share in shares for part in worker_slices(len(share), workers)]
    return np.concatenate(steps_taken)


WORLDS = [1, 2, 3, 4, 5, 7, 8, 12, 16, 31, 32, 64, 100, 127, 128, 255, 256, 500, 512, 1000, 1023, 1024]


@pytest.mark.fault("R6", "Every sample comes once per epoch for any number of processes and workers.")
@pytest.mark.parametrize("world", WORLDS)
def test_every_sample_once_per_epoch_for_any_world_and_workers(world):
    """The corners: an epoch smaller than, equal to and larger than a batch, one sample more and one less."""
    for workers in range(17) if world < 200 else (0, 1, 7, 16):
        batch = world * (1 + workers % 5)
        for samples in {1, 7, batch - 1, batch, batch + 1, 3 * batch - 1} - {0}:
            steps = -(-2 * samples // batch)
            taken = consumed(samples, 3, 0, steps, batch, world, workers)
            assert np.array_equal(taken, stream_indices(samples, 3, 0, steps * batch)[0])
            for epoch in range(2):
                assert np.array_equal(np.sort(taken[epoch * samples:(epoch + 1) * samples]), np.arange(samples))


@pytest.mark.fault("R6", "Going on with other processes and workers gives the same global batches.")
@settings(max_examples=80, deadline=None)
@given(st.integers(1, 1024), st.integers(0, 16), st.integers(1, 4), st.integers(1, 5000), st.integers(0, 10**6), SEEDS,
       st.sampled_from([1, 2, 3, 4]))
def test_a_resume_with_other_ranks_and_workers_goes_on_with_the_same_batches(world, workers, share, samples, start,
                                                                              seed, factor):
    batch = world * share * factor
    before = consumed(samples, seed, start, 1, batch, world, workers)
    after = consumed(samples, seed, start + batch, 1, batch, world * factor, 16 - workers)
    assert np.array_equal(np.concatenate([before, after]), stream_indices(samples, seed, start, 2 * batch)[0])


@pytest.mark.parametrize("workers", range(17))
@pytest.mark.parametrize("count", [0, 1, 2, 15, 16, 17, 100])
def test_workers_share_every_place_once(count, workers):
    parts = worker_slices(count, workers)
    assert [place for part in parts for place in range(count)[part]] == list(range(count))
    assert len(parts) <= max(workers, 1)


@pytest.mark.fault("R6", "A number of processes that does not divide the batch is refused, with those that do.")
def test_a_world_that_does_not_divide_names_those_that_do():
    with pytest.raises(UsageError, match=r"12 cannot be cut into 5 equal parts.*1, 2, 3, 4, 6, 12"):
        rank_slice(12, 5, 0)
    with pytest.raises(UsageError, match="Rank 4 of 4"):
        rank_slice(12, 4, 4)
    with pytest.raises(UsageError, match="empty"):
        stream_indices(0, 0, 0, 4)


def test_the_order_is_fixed_for_all_time():
    """Checkpoints depend on these numbers: changing them breaks every resume."""
    assert sample_order(10, 0, 0).tolist() == [0, 1, 6, 5, 3, 2, 8, 9, 7, 4]
    assert sample_order(10, 0, 1).tolist() == [2, 6, 7, 1, 8, 3, 0, 4, 9, 5]
    assert round(Draws(AUGMENT, 1, 2, 3).uniform(), 6) == 0.28989
    assert replacement(1000, 5, 17, 0) == 365


def test_epochs_and_seeds_have_their_own_orders():
    orders = {tuple(sample_order(50, seed, epoch)) for seed in (-1, 0, 1, 2**64 - 2) for epoch in range(5)}
    assert len(orders) == 20
    assert not np.array_equal(sample_order(50, 0, 1), sample_order(50, 1, 0))


def test_an_order_cannot_be_changed_by_its_reader():
    with pytest.raises(ValueError, match="read-only"):
        sample_order(10, 0, 0)[0] = 3


def test_places_are_uniform():
    first = np.array([sample_order(8, seed, 0) for seed in range(4000)])
    counts = np.array([np.bincount(first[:, place], minlength=8) for place in range(8)])
    assert np.abs(counts - 500).max() < 5 * np.sqrt(500)


def test_draws_are_uniform_and_endless():
    draws = Draws(AUGMENT, 0, 0, 0)
    numbers = np.array([draws.uniform() for _ in range(20_000)])
    assert 0 <= numbers.min() < numbers.max() < 1
    assert np.abs(np.histogram(numbers, 20, (0, 1))[0] - 1000).max() < 160
    assert len(set(numbers)) == 20_000
    assert abs(np.corrcoef(numbers[:-1], numbers[1:])[0, 1]) < 0.03
    starts = np.array([Draws(AUGMENT, 0, 0, sample).uniform() for sample in range(20_000)])
    assert np.abs(np.histogram(starts, 20, (0, 1))[0] - 1000).max() < 160


def test_purposes_are_apart():
    assert Draws(AUGMENT, 1, 2).uniform() != Draws(ORDER, 1, 2).uniform()


@given(st.integers(1, 1000), SEEDS, st.integers(0, 10**9), st.integers(0, 70))
def test_replacements_are_samples(samples, seed, position, attempt):
    assert 0 <= replacement(samples, seed, position, attempt) < samples

