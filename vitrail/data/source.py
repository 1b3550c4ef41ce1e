"""What every source of images is, once opened: named splits of pictures with labels.

    open_source("photos/") -> Source(classes, splits={"train": Split, "val": Split, "test": Split})

Classes come from the training split only; other splits are mapped onto them by name.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Protocol

import numpy as np

SPLITS = ("train", "val", "test")


class Reader(Protocol):
    """How a source hands out one picture. Readers are picklable and safe to call from several threads."""

    def read(self, key: int) -> bytes | np.ndarray:
        """The encoded file as bytes, or pixels as uint8 [height, width, 3] or [height, width].

        Raises ImageError with the picture's name where it cannot be read.
        """
        ...


@dataclass(frozen=True)
class Split:
    """Some pictures with their labels. Nothing is read before it is asked for.

    `names[i]` is what a person calls picture i (a path, or "fashion/test/17"); `keys[i]` is what the reader calls it.
    `labels`: int64 [pictures] class indices, or float32 [pictures, classes] of 0/1 with several labels a picture.
    """

    names: Sequence[str]
    keys: np.ndarray
    labels: np.ndarray
    reader: Reader

    def __len__(self) -> int:
        return len(self.keys)

    def read(self, index: int) -> bytes | np.ndarray:
        return self.reader.read(int(self.keys[index]))

    def subset(self, indices: np.ndarray) -> Split:
        names = [self.names[int(i)] for i in indices]
        return replace(self, names=names, keys=self.keys[indices], labels=self.labels[indices])


@dataclass(frozen=True)
class Source:
    """An opened source. `kind` says in plain words what was recognised ("image folder with train/ and val/").

    `notes` are for the box that opens a run; `warnings` are printed in full. `fingerprint` is a SHA-256 over what
    identifies the data (names, sizes, labels, splits), so that a run can tell when its data changed.
    """

    spec: str
    kind: str
    classes: tuple[str, ...]
    splits: dict[str, Split]
    fingerprint: str
    multilabel: bool = False
    notes: tuple[str, ...] = ()
    warnings: tuple[str, ...] = field(default=())
