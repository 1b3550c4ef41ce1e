from __future__ import annotations

import gc
import itertools
import threading
import time
from dataclasses import replace

import numpy as np
import pytest
import torch
from hostile import Listed, noise, saved, split_of

from vitrail.data.augment import Augmentation
from vitrail.data.loader import Loader, default_workers, in_order
from vitrail.data.order import Key, stream_indices
from vitrail.data.prefetch import PREFETCH
from vitrail.data.preprocess import Preprocess
from vitrail.data.views import EvalView, TrainView
from vitrail.errors import DataError, ImageError, RunError, UsageError

PREPROCESS = Preprocess(size=8)
VIEW = TrainView(PREPROCESS, Augmentation(crop="pad", flip=0.5))
PLAIN = EvalView(PREPROCESS)


def arrays(count: int) -> list[np.ndarray]:
    """Pictures that carry their own number."""
    return [np.full((8, 8), number % 256, np.uint8) for number in range(count)]


def first(batches, count: int) -> list:
    taken = list(itertools.islice(batches, count))
    batches.close()
    return taken


def same(one, other) -> bool:
    pairs = ((one.views["image"], other.views["image"]), (one.targets, other.targets), (one.indices, other.indices),
             (one.positions, other.positions))
    return all(torch.equal(*pair) for pair in pairs)


def threads() -> list[str]:
    return [thread.name for thread in threading.enumerate() if thread.name.startswith("vitrail-loader")]


@pytest.mark.parametrize("workers", [0, 1, 3])
def test_batches_follow_the_order(workers):
    split = split_of(arrays(10))
    batches = first(Loader(split, PLAIN, 4, seed=3, workers=workers).batches(), 5)
    expected, _ = stream_indices(10, 3, 0, 20)
    assert torch.cat([batch.indices for batch in batches]).tolist() == expected.tolist()
    assert torch.cat([batch.positions for batch in batches]).tolist() == list(range(20))
    for batch in batches:
        image = batch.views["image"]
        assert (image.dtype, tuple(image.shape)) == (torch.uint8, (4, 3, 8, 8))
        assert image[:, 0, 0, 0].tolist() == batch.indices.tolist()
        assert batch.targets.tolist() == [index % 10 for index in batch.indices]
        assert batch.targets.dtype == batch.indices.dtype == batch.positions.dtype == torch.int64


@pytest.mark.parametrize("workers", [0, 1, 2, 5])
@pytest.mark.parametrize("start", [0, 6, 17, 54])
def test_it_goes_on_anywhere_bit_for_bit(start, workers):
    files = [saved(noise(20, 20, seed), "JPEG") for seed in range(9)]
    view = TrainView(PREPROCESS, Augmentation(crop="random-resized", flip=0.5, contrast=0.5))
    whole = first(Loader(split_of(files), view, 1, seed=1, workers=0).batches(), 72)
    for batch in first(Loader(split_of(files), view, 6, seed=1, workers=workers).batches(start), 3):
        for row, position in enumerate(batch.positions.tolist()):
            assert torch.equal(batch.views["image"][row], whole[position].views["image"][0])
            assert batch.indices[row] == whole[position].indices[0]


def test_augmentation_changes_with_the_epoch():
    loader = Loader(split_of([noise(8, 8)]), VIEW, 1, seed=0, workers=0)
    images = [batch.views["image"] for batch in first(loader.batches(), 20)]
    assert len({image.numpy().tobytes() for image in images}) > 3
    assert torch.equal(images[4][0], VIEW(noise(8, 8), "x", Key(0, 4, 0)))


def test_ranks_share_the_global_batch():
    split = split_of(arrays(11))
    alone = first(Loader(split, VIEW, 12, seed=5, workers=2).batches(), 3)
    ranks = [first(Loader(split, VIEW, 12, seed=5, workers=1, world=3, rank=rank).batches(), 3) for rank in range(3)]
    for whole, *parts in zip(alone, *ranks, strict=True):
        assert torch.equal(whole.views["image"], torch.cat([part.views["image"] for part in parts]))
        assert torch.equal(whole.positions, torch.cat([part.positions for part in parts]))


def test_several_labels_stay_floats():
    labels = np.eye(3, dtype=np.float32)[[0, 1, 2, 0]]
    split = replace(split_of(arrays(4)), labels=labels)
    batch = first(Loader(split, PLAIN, 4, seed=0).batches(), 1)[0]
    assert batch.targets.dtype == torch.float32
    assert torch.equal(batch.targets, torch.from_numpy(labels[batch.indices.numpy()]))


def with_bad(count: int, *bad: int) -> list:
    return [None if number in bad else picture for number, picture in enumerate(arrays(count))]


@pytest.mark.fault("D1", "In training a bad picture is replaced by the same one for any number of workers.")
def test_a_bad_picture_is_replaced_the_same_way_by_any_number_of_workers():
    items = with_bad(100, 13)
    runs = []
    for workers in (0, 1, 2, 4):
        loader = Loader(split_of(items), VIEW, 20, seed=0, workers=workers)
        runs.append(first(loader.batches(), 15))
        assert loader.bad == {"picture-13": "it is gone"}
    assert all(same(*pair) for run in runs[1:] for pair in zip(runs[0], run, strict=True))
    wanted, _ = stream_indices(100, 0, 0, 300)
    taken = torch.cat([batch.indices for batch in runs[0]]).numpy()
    assert (wanted == 13).sum() == 3
    assert np.array_equal(taken[wanted != 13], wanted[wanted != 13])
    assert 13 not in taken
    assert len(set(taken[wanted == 13])) > 1  # drawn anew at each position
    resumed = first(Loader(split_of(items), VIEW, 20, seed=0, workers=2).batches(100), 3)
    assert all(same(*pair) for pair in zip(runs[0][5:8], resumed, strict=True))


def test_the_label_belongs_to_the_replacement():
    for batch in first(Loader(split_of(with_bad(20, 3)), PLAIN, 20, seed=0).batches(), 3):
        assert batch.views["image"][:, 0, 0, 0].tolist() == batch.indices.tolist()
        assert batch.targets.tolist() == [index % 10 for index in batch.indices]


@pytest.mark.fault("D1", "More bad pictures than max_bad end the run, with names and reasons.")
@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize(("items", "max_bad", "named"), [
    (with_bad(50, 3, 4), 0.001, "picture-3|picture-4"), (with_bad(50, 3), 0, "picture-3"),
    ([None] * 50, 0.001, "picture-"), ([None], 0.001, "picture-0"),
    ([None] * 20, 1, "picture-"), (with_bad(2000, 1, 2, 3), 0.001, "picture-"),
])
def test_too_many_bad_pictures_end_the_run_and_are_named(items, max_bad, named, workers):
    loader = Loader(split_of(items), PLAIN, 50, seed=0, workers=workers, max_bad=max_bad)
    with pytest.raises(DataError, match=named) as caught:
        first(loader.batches(), 50)
    assert f"of {len(items)} pictures cannot be read" in str(caught.value)
    assert "max_bad" in str(caught.value)
    assert not threads()


def test_as_many_as_allowed_may_be_bad():
    loader = Loader(split_of(with_bad(100, *range(10))), PLAIN, 50, seed=0, max_bad=0.1)
    first(loader.batches(), 10)
    assert len(loader.bad) == 10


def test_where_it_stops_does_not_depend_on_the_workers():
    ends = []
    for workers in (0, 1, 3):
        loader = Loader(split_of(with_bad(200, 20, 90, 150)), PLAIN, 10, seed=0, workers=workers, max_bad=0.01)
        taken = []
        with pytest.raises(DataError) as caught:
            taken.extend(batch.indices.tolist() for batch in loader.batches())
        ends.append((taken, str(caught.value), loader.bad))
    assert ends[0] == ends[1] == ends[2]


class Slow(Listed):
    """Counts what is read, and takes its time."""

    def __init__(self, items, seconds: float) -> None:
        super().__init__(items)
        self.seconds, self.count = seconds, 0

    def read(self, key: int):
        self.count += 1
        time.sleep(self.seconds)
        return super().read(key)


def test_no_more_is_read_ahead_than_said():
    split = replace(split_of(arrays(100)), reader=Slow(arrays(100), 0))
    batches = Loader(split, PLAIN, 10, seed=0, workers=2).batches()
    assert split.reader.count == 0
    assert not threads()
    next(batches)
    patience = time.monotonic() + 10
    while split.reader.count < PREFETCH * 10 and time.monotonic() < patience:
        time.sleep(0.01)
    time.sleep(0.1)
    assert split.reader.count == PREFETCH * 10
    batches.close()


@pytest.mark.fault("R12", "However a run is left, its workers stop at once: they are threads, and none can be left "
                   "waiting.")
@pytest.mark.parametrize("leave", ["close", "forget", "interrupt", "next to nothing"])
def test_leaving_stops_the_threads_at_once(leave):
    split = replace(split_of(arrays(100)), reader=Slow(arrays(100), 0.01))
    batches = Loader(split, PLAIN, 100, seed=0, workers=2).batches()
    if leave != "next to nothing":
        next(batches)
        assert threads()
    read = split.reader.count
    if leave == "interrupt":
        with pytest.raises(KeyboardInterrupt):
            batches.throw(KeyboardInterrupt())
    elif leave == "forget":
        del batches
        gc.collect()
    else:
        batches.close()
    assert not threads()
    assert split.reader.count - read < 20  # of the 200 pictures of the batches in work


@pytest.mark.fault("R12", "An error in a worker comes out in the run, at its place in the order.")
@pytest.mark.parametrize("workers", [0, 2])
def test_other_errors_come_out(workers):
    class Broken(Listed):
        def read(self, key: int):
            raise RuntimeError("the disk is on fire")

    split = replace(split_of(arrays(10)), reader=Broken([]))
    loader = Loader(split, PLAIN, 4, seed=0, workers=workers)
    for batches in (loader.batches(), in_order(split, PREPROCESS, 4, workers)):
        with pytest.raises(RuntimeError, match="on fire"):
            next(batches)
        assert not threads()


@pytest.mark.fault("R12", "Too little memory for a picture ends training and evaluation in words that name it; no "
                   "thread is left.")
@pytest.mark.parametrize("workers", [0, 2])
def test_too_little_memory_for_a_picture_names_it(workers):
    class Large(Listed):
        def read(self, key: int):
            raise MemoryError

    split = replace(split_of(arrays(10)), reader=Large([]))
    loader = Loader(split, PLAIN, 4, seed=0, workers=workers)
    for batches in (loader.batches(), in_order(split, PREPROCESS, 4, workers)):
        with pytest.raises(RunError, match=r"not enough memory to read this picture. Use fewer decoding threads"):
            next(batches)
        assert not threads()


@pytest.mark.parametrize(("wrong", "message"), [
    ({"batch_size": 0}, "batch_size 0"), ({"max_bad": 1.5}, "max_bad 1.5"), ({"world": 3}, "4 cannot be cut"),
    ({"workers": -1}, "workers -1"),
])
def test_wrong_arguments_are_named(wrong, message):
    with pytest.raises(UsageError, match=message):
        Loader(split_of(arrays(9)), PLAIN, **({"batch_size": 4, "seed": 0} | wrong))


def test_an_empty_split_is_an_error():
    with pytest.raises(DataError, match="empty"):
        Loader(split_of([]), PLAIN, 4, seed=0)


@pytest.mark.fault("D1", "In evaluation a bad picture is never replaced: it is reported and counts as an error.")
@pytest.mark.parametrize("workers", [0, 1, 3])
def test_a_pass_in_order_reports_and_never_replaces(workers):
    items = with_bad(23, 0, 5, 8, 9, 10, 11, 22)
    passes = list(in_order(split_of(items), PREPROCESS, 4, workers))
    assert [len(passed.indices) + len(passed.errors) for passed in passes] == [4, 4, 4, 4, 4, 3]
    assert torch.cat([passed.indices for passed in passes]).tolist() == [
        number for number, item in enumerate(items) if item is not None]
    assert [error.path for passed in passes for error in passed.errors] == [
        f"picture-{number}" for number in (0, 5, 8, 9, 10, 11, 22)]
    assert all(isinstance(error, ImageError) for passed in passes for error in passed.errors)
    for passed in passes:
        assert passed.raw[:, 0, 0, 0].tolist() == passed.indices.tolist()
        assert passed.raw.shape[1:] == (3, 8, 8)
    assert passes[2].raw.shape[0] == 0  # all four were bad
    assert not threads()


def test_a_pass_over_nothing_is_empty():
    assert list(in_order(split_of([]), PREPROCESS, 4)) == []
    with pytest.raises(UsageError, match="batch_size 0"):
        next(in_order(split_of(arrays(2)), PREPROCESS, 0))


def test_small_arrays_have_one_worker():
    assert default_workers(split_of(arrays(3))) == 1
    assert default_workers(split_of([saved(noise(), "PNG")])) >= 1
    assert default_workers(split_of([None])) >= 1
    assert default_workers(split_of([])) >= 1
