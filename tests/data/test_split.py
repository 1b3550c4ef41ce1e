"""Splits: shares in each class, independence of order, nested subsets, and the recorded manifest."""

from __future__ import annotations

import csv
from dataclasses import dataclass

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vitrail.data.source import Source, Split, open_source
from vitrail.data.split import (
    TEST,
    TRAIN,
    VAL,
    carve_validation,
    divide,
    few_shot,
    joined,
    manifest_rows,
    nested_fraction,
)
from vitrail.data.split import write_manifest_csv as write_manifest
from vitrail.errors import UsageError


@dataclass(frozen=True)
class NoReader:
    def read(self, key: int) -> bytes:
        raise AssertionError("a split never reads")


def made(labels: np.ndarray) -> Split:
    return Split([f"picture/{row}" for row in range(len(labels))], np.arange(len(labels)), labels, NoReader())


def names_of(count: int) -> list[str]:
    return [f"class/{row}.png" for row in range(count)]


@pytest.mark.parametrize(("count", "expected"), [
    (1, [1, 0, 0]), (2, [1, 0, 1]), (3, [1, 1, 1]), (4, [2, 1, 1]), (10, [8, 1, 1]), (100, [80, 10, 10]),
])
def test_shares_of_one_class(count, expected):
    parts = divide(names_of(count), np.zeros(count, np.int64), seed=0, validation=0.1)
    assert np.bincount(parts, minlength=3).tolist() == expected


@given(counts=st.lists(st.integers(1, 40), min_size=1, max_size=6), seed=st.integers(0, 2**32),
       validation=st.sampled_from([0.0, 0.1, 0.3]))
def test_every_class_has_its_share_in_every_split(counts, seed, validation):
    labels = np.repeat(np.arange(len(counts)), counts)
    parts = divide(names_of(len(labels)), labels, seed=seed, validation=validation)
    for label, count in enumerate(counts):
        have = np.bincount(parts[labels == label], minlength=3)
        assert have[TRAIN] >= 1
        if count >= 3:
            assert have[TEST] >= 1
            assert (have[VAL] >= 1) == (validation > 0)
            assert abs(have[TEST] - 0.1 * count) <= 1
            assert abs(have[VAL] - validation * count) <= 1


@given(order=st.permutations(range(30)), seed=st.integers(0, 9))
def test_the_order_of_the_pictures_does_not_matter(order, seed):
    names, labels, mixed = names_of(30), np.arange(30) % 3, np.array(order)
    parts = divide(names, labels, seed=seed, validation=0.1)
    again = divide([names[row] for row in order], labels[mixed], seed=seed, validation=0.1)
    assert (parts[mixed] == again).all()


def test_one_more_picture_moves_hardly_any_other():
    names, labels = names_of(1000), np.arange(1000) % 10
    before = divide(names, labels, seed=0, validation=0.1)
    after = divide([*names, "class/new.png"], np.append(labels, 0), seed=0, validation=0.1)[:-1]
    assert (before != after).sum() <= 2


def test_another_seed_gives_another_split():
    labels = np.zeros(100, np.int64)
    one, two = (divide(names_of(100), labels, seed=seed, validation=0.1) for seed in (0, 1))
    assert (one != two).any()


def test_the_test_part_does_not_depend_on_the_share_of_val():
    labels = np.arange(100) % 4
    one, two = (divide(names_of(100), labels, seed=0, validation=share) for share in (0, 0.2))
    assert ((one == TEST) == (two == TEST)).all()


def test_known_split_of_known_names():
    """A recipe names its split by the seed alone, so the split of a seed must never change."""
    parts = divide(names_of(20), np.arange(20) % 2, seed=0, validation=0.1)
    assert "".join(map(str, parts)) == "00022001001000000000"


@pytest.mark.parametrize("share", [-0.1, 0.9, 1.5])
def test_a_share_that_makes_no_sense_is_refused(share):
    with pytest.raises(UsageError, match="validation"):
        carve_validation(names_of(5), np.zeros(5, np.int64), seed=0, validation=share)


def test_with_several_labels_no_label_is_lost_from_train():
    labels = np.zeros((60, 5), np.float32)
    labels[:, 0] = 1
    labels[range(4), range(1, 5)] = 1  # four labels that one picture has each
    for seed in range(30):
        parts = divide(names_of(60), labels, seed=seed, validation=0.2)
        assert labels[parts == TRAIN].any(0).all()
        assert (parts == TEST).any()
        assert (parts == VAL).any()


def test_few_shot_takes_the_first_of_each_permuted_class():
    labels = np.array([0, 1] * 10 + [2])
    subset = few_shot(made(labels), 3, seed=1)
    generator = np.random.default_rng(1)
    expected = [generator.permutation(np.flatnonzero(labels == label))[:3] for label in range(3)]
    assert subset.keys.tolist() == np.concatenate(expected).tolist()
    assert np.bincount(subset.labels).tolist() == [3, 3, 1]
    assert subset.names[0] == f"picture/{subset.keys[0]}"


@given(seed=st.integers(0, 99), small=st.integers(1, 5), more=st.integers(0, 5))
def test_few_shot_subsets_are_nested(seed, small, more):
    split = made(np.arange(40) % 5)
    assert set(few_shot(split, small, seed).keys) <= set(few_shot(split, small + more, seed).keys)


@given(seed=st.integers(0, 99), small=st.floats(0.01, 1), large=st.floats(0.01, 1))
def test_fractions_are_nested_and_keep_every_class(seed, small, large):
    split = made(np.repeat(np.arange(4), (1, 5, 20, 50)))
    small, large = sorted((small, large))
    inner, outer = nested_fraction(split, small, seed), nested_fraction(split, large, seed)
    assert set(inner.keys) <= set(outer.keys)
    assert set(inner.labels) == {0, 1, 2, 3}
    assert abs((inner.labels == 3).sum() - small * 50) <= 1


def test_fraction_of_all_is_all():
    split = made(np.arange(10) % 2)
    assert nested_fraction(split, 1.0, 0).keys.tolist() == list(range(10))
    several = made(np.eye(10, dtype=np.float32))
    assert len(nested_fraction(several, 0.5, 0)) == 5


@pytest.mark.parametrize("call", [lambda split: few_shot(split, 0, 0), lambda split: nested_fraction(split, 0, 0),
                                  lambda split: nested_fraction(split, 1.1, 0)])
def test_subsets_that_make_no_sense_are_refused(call):
    with pytest.raises(UsageError):
        call(made(np.arange(10) % 2))


def test_few_shot_needs_one_label_a_picture():
    with pytest.raises(UsageError, match="one label"):
        few_shot(made(np.eye(4, dtype=np.float32)), 1, 0)


def test_the_recorded_manifest_is_itself_a_source(tmp_path):
    for label in ("a cat", "dog, big", "été"):
        (tmp_path / "photos" / label).mkdir(parents=True)
        for row in range(6):
            (tmp_path / "photos" / label / f"{row}.png").write_bytes(f"{label} {row}".encode())
    source = open_source(str(tmp_path / "photos"), seed=3)
    write_manifest(source, tmp_path / "run" / "splits.csv")
    again = open_source(str(tmp_path / "run" / "splits.csv"), seed=99)
    assert again.classes == source.classes
    for name, split in source.splits.items():
        assert sorted(zip(split.names, split.labels, strict=True)) == sorted(
            zip(again.splits[name].names, again.splits[name].labels, strict=True))


def test_rows_of_several_labels_are_joined(tmp_path):
    split = Split(["x", "y"], np.arange(2), np.array([[1, 1], [0, 0]], np.float32), NoReader())
    source = Source("spec", "kind", ("cat", "dog"), {"train": split}, "", multilabel=True)
    assert manifest_rows(source) == [("x", "cat|dog", "train"), ("y", "", "train")]
    write_manifest(source, tmp_path / "splits.csv")
    rows = list(csv.reader((tmp_path / "splits.csv").read_text().splitlines()))
    assert rows == [["path", "label", "split"], ["x", "cat|dog", "train"], ["y", "", "train"]]


def test_joined_splits_keep_every_picture_its_name_and_label() -> None:
    source = open_source("digits")
    whole = joined(list(source.splits.values()))
    assert len(whole) == sum(map(len, source.splits.values()))
    place = 0
    for split in source.splits.values():
        for index in (0, len(split) - 1):
            assert whole.names[place + index] == split.names[index]
            assert whole.labels[place + index] == split.labels[index]
            assert np.array_equal(whole.read(place + index), split.read(index))
        place += len(split)
