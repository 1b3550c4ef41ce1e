"""Which picture is in which split: pure functions of (seed, identity), the same on every machine.

    hash(seed, identity) -> a rank inside the class -> the lowest ranks are test, the next val, the rest train

The order in which files are found does not matter, and one more file moves hardly any other one. Shares are kept in
each class. A class of one picture stays in train; of two, one is tested; from three on, each split gets at least one.
"""

from __future__ import annotations

import csv
import hashlib
import io
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from vitrail.data.source import SPLITS, Source, Split
from vitrail.errors import UsageError
from vitrail.files import write_bytes

TEST_SHARE = 0.1
"""Share of the pictures that is held out for the test where a source has no splits of its own."""

TRAIN, VAL, TEST = range(3)


def divide(identities: Sequence[str], labels: np.ndarray, *, seed: int, validation: float) -> np.ndarray:
    """Split pictures that have no split: int64 [pictures], 0 train, 1 val, 2 test (as in `SPLITS`).

    `labels`: class indices [pictures], or 0/1 [pictures, classes]. Several labels a picture are split at random, not
    stratified; a picture returns to train where one of its labels would otherwise be unknown there.
    """
    check_share(validation)
    return allot(hashes(identities, seed), labels, (TEST_SHARE, validation), (TEST, VAL))


def carve_validation(identities: Sequence[str], labels: np.ndarray, *, seed: int, validation: float) -> np.ndarray:
    """Take a validation part out of a training split: bool [pictures]. A class of one picture stays in train."""
    check_share(validation)
    return allot(hashes(identities, seed), labels, (validation,), (VAL,)) == VAL


def check_share(validation: float) -> None:
    if not 0 <= validation < 0.9:
        raise UsageError(f"validation is {validation}; it is a share of the pictures, at least 0 and below 0.9.")


def allot(ranks: np.ndarray, labels: np.ndarray, shares: tuple[float, ...], parts: tuple[int, ...]) -> np.ndarray:
    """Give each held-out part its share of every class, lowest hash first; what is left is train."""
    result = np.full(len(ranks), TRAIN, np.int64)
    groups = labels if labels.ndim == 1 else np.zeros(len(ranks), np.int64)
    order = np.lexsort((ranks, groups))
    bounds = np.flatnonzero(np.diff(groups[order])) + 1
    for members in np.split(order, bounds) if len(order) else []:
        start, left = 0, len(members) - 1
        for share, part in zip(shares, parts, strict=True):
            count = min(share_of(len(members), share), left)
            result[members[start:start + count]] = part
            start, left = start + count, left - count
    if labels.ndim == 2:
        return_lost_labels(result, labels, ranks)
    return result


def share_of(count: int, share: float) -> int:
    """The nearest whole number of pictures, at least one where anything is asked for."""
    return max(1, int(count * share + 0.5)) if share > 0 else 0


def return_lost_labels(parts: np.ndarray, labels: np.ndarray, ranks: np.ndarray) -> None:
    """Move pictures back to train, in place, until every label that any picture has is known there."""
    for label in range(labels.shape[1]):
        having = np.flatnonzero(labels[:, label])
        if len(having) and not (parts[having] == TRAIN).any():
            parts[having[np.argmax(ranks[having])]] = TRAIN


def hashes(identities: Sequence[str], seed: int) -> np.ndarray:
    """A number for each picture from its identity and the seed alone, uint64 [pictures]."""
    start = hashlib.blake2b(f"vitrail split {seed}\n".encode(), digest_size=8)
    result = np.empty(len(identities), np.uint64)
    for row, identity in enumerate(identities):
        digest = start.copy()
        digest.update(identity.encode())
        result[row] = int.from_bytes(digest.digest(), "little")
    return result


def nested_fraction(split: Split, fraction: float, seed: int) -> Split:
    """A share of a split, the same share of each class and at least one picture of it.

    For one seed the smaller subsets are contained in the larger ones. Several labels a picture: plain random.
    """
    if not 0 < fraction <= 1:
        raise UsageError(f"The fraction is {fraction}; it must be above 0 and at most 1.")
    generator = np.random.default_rng(seed)
    chosen = [members[:share_of(len(members), fraction)] for members in permuted_classes(split.labels, generator)]
    return split.subset(np.sort(np.concatenate(chosen)))


def few_shot(split: Split, shots: int, seed: int) -> Split:
    """`shots` pictures of each class, class by class; a class with fewer gives what it has.

    One generator permutes the classes in their order, and the first `shots` of each are taken: the protocol of
    big_vision's few-shot evaluator. For one seed the smaller subsets are contained in the larger ones.
    """
    if shots < 1:
        raise UsageError(f"{shots} shots were asked for; at least 1 picture of each class is needed.")
    if split.labels.ndim != 1:
        raise UsageError("Few-shot subsets need one label a picture; this source has several.")
    return split.subset(few_shot_rows(split.labels, shots, seed))


def few_shot_rows(labels: np.ndarray, shots: int, seed: int) -> np.ndarray:
    """The places of the pictures that `few_shot` takes, for labels [pictures]."""
    generator = np.random.default_rng(seed)
    return np.concatenate([m[:shots] for m in permuted_classes(labels, generator)])


@dataclass(frozen=True)
class JoinedReader:
    """Several readers as one: keys are places in the splits laid end to end."""

    splits: tuple[Split, ...]
    ends: np.ndarray

    def read(self, key: int) -> bytes | np.ndarray:
        which = int(np.searchsorted(self.ends, key, side="right"))
        return self.splits[which].read(key - int(self.ends[which - 1]) if which else key)


def joined(splits: Sequence[Split]) -> Split:
    """All pictures of several splits, in their order."""
    if len(splits) == 1:
        return splits[0]
    ends = np.cumsum([len(split) for split in splits])
    return Split(names=[name for split in splits for name in split.names], keys=np.arange(ends[-1]),
                 labels=np.concatenate([split.labels for split in splits]), reader=JoinedReader(tuple(splits), ends))


def permuted_classes(labels: np.ndarray, generator: np.random.Generator) -> list[np.ndarray]:
    """The members of each class in random order; one group of all where a picture has several labels."""
    if labels.ndim == 2:
        return [generator.permutation(len(labels))]
    return [generator.permutation(np.flatnonzero(labels == label)) for label in range(int(labels.max(initial=-1)) + 1)]


def manifest_rows(source: Source) -> list[tuple[str, str, str]]:
    """(path, label, split) of every picture; several labels are joined by `|`. Paths of files become absolute."""
    rows = []
    for split in (name for name in SPLITS if name in source.splits):
        part = source.splits[split]
        for name, label in zip(part.names, part.labels, strict=True):
            path = os.path.abspath(name) if getattr(part.reader, "names_are_files", False) else name
            given = [int(label)] if part.labels.ndim == 1 else np.flatnonzero(label)
            rows.append((path, "|".join(source.classes[index] for index in given if source.classes), split))
    return rows


def write_manifest_csv(source: Source, path: Path) -> None:
    """Record the splits of a source. Where its pictures are files, the result is itself a source."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(("path", "label", "split"))
    writer.writerows(manifest_rows(source))
    write_bytes(path, text.getvalue().encode())
