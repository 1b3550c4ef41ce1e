"""What every source of images is, once opened: named splits of pictures with labels.

    open_source("photos/") -> Source(classes, splits={"train": Split, "val": Split, "test": Split})

Classes come from the training split only; other splits are mapped onto them by name.
"""

from __future__ import annotations

import difflib
import os
import re
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Protocol

import numpy as np

from vitrail.errors import DataError, UnknownNameError, UsageError

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
    Without labels `classes` is empty, and all labels of its splits are 0.

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


def open_source(spec: str | os.PathLike[str], *, seed: int = 0, validation: float = 0.1,
                classes: Sequence[str] | None = None, divide: bool = True, skip_bad_shards: bool = False,
                labeled: bool = True, fraction: float = 1.0, fraction_seed: int = 0) -> Source:
    """Recognize what `spec` names and open it; nothing is decoded or copied.

    Pictures without splits are divided 80/10/10 by `seed` (with `validation` instead of the first 10). Where there is
    train and test but no val, the share `validation` of train becomes val; 0 makes none. `classes`: map labels onto
    these by name, as for a trained model, instead of taking the classes of train. `divide=False`, for evaluation
    alone: no split is made, pictures without splits are all "test". `skip_bad_shards`: go on without shards that are
    missing or cut short. `labeled=False`, to learn without labels: a folder or archive may have no class folders, or a
    single one; labels that are there still decide the splits, so that what is held out now is held out for them too.
    `fraction`: of train, the same share of each class; for one `fraction_seed` smaller parts are contained in larger
    ones, and what is held out stays whole.

    Raises UsageError for a kind of source that does not exist, DataError where the images or labels are wrong.
    """
    # Imported here because every kind of source builds on the values above.
    from vitrail.data.sources import SOURCE_KINDS
    from vitrail.data.sources.contract import Request

    spec = os.fspath(spec)
    refuse_remote(spec)
    request = Request(spec, seed, validation, None if classes is None else tuple(classes), divide,
                      skip_bad_shards, labeled)
    for kind in SOURCE_KINDS.values():
        try:
            recognized = kind.recognizes(request)
        except OSError as error:
            raise DataError(f"{spec} cannot be looked at: {error.strerror}.") from error
        if recognized:
            return with_fraction(kind.open(request), fraction, fraction_seed)
    raise unknown_source(request.path, spec, [kind.example for kind in SOURCE_KINDS.values()])


def with_fraction(source: Source, fraction: float, seed: int) -> Source:
    if fraction == 1 or "train" not in source.splits:
        return source
    from vitrail.data.split import nested_fraction

    train = nested_fraction(source.splits["train"], fraction, seed)
    whole = len(source.splits["train"])
    return replace(source, splits=source.splits | {"train": train},
                   notes=(*source.notes, f"{len(train):,} of {whole:,} training images, drawn by seed {seed}"))


def refuse_remote(spec: str) -> None:
    """Raise UsageError for nothing, and for what is not on this machine."""
    if not spec.strip():
        raise UsageError("No source was given. Give fashion, digits, a folder, an archive or a manifest.")
    if re.match(r"[A-Za-z][A-Za-z0-9+.-]*://", spec):
        raise UsageError(f"{spec} is a URL, and nothing is fetched from the network. Fetch it yourself, then give the "
                         "folder or archive on this machine. Only shards are read where they lie: shards:URL.")


def unknown_source(path: Path, spec: str, allowed: list[str]) -> UsageError | DataError:
    """The error for a spec that no kind of source recognizes, with the nearest name there is."""
    allow = "A source is one of: " + "; ".join(allowed) + "."
    if path.exists():
        return UsageError(f"{spec} is no source that vitrail can open. {allow}")
    builtin = ("fashion", "digits")
    if difflib.get_close_matches(spec, builtin, n=1, cutoff=0.6):
        return UnknownNameError("source", spec, (*builtin, *allowed[len(builtin):]))
    try:
        near = difflib.get_close_matches(path.name, os.listdir(path.parent), n=1, cutoff=0.6)
    except OSError:
        near = []
    hint = f" Did you mean {str(path.with_name(near[0]))!r}?" if near else ""
    return DataError(f"There is no file or folder {spec!r}.{hint} {allow}")
