"""What a kind of source is: how it is recognized and how it is opened.

Every kind turns what it finds into a `Listing` (names, labels, perhaps splits); `assemble.py` makes the Source of it.
To add one: write a file with these two functions and one line in the dictionary of `__init__.py`.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from vitrail.data.source import Reader, Source


@dataclass(frozen=True)
class Request:
    """What the caller of `open_source` asked for. See there for the meaning of each field."""

    spec: str
    seed: int = 0
    validation: float = 0.1
    classes: tuple[str, ...] | None = None
    divide: bool = True
    skip_bad_shards: bool = False
    labeled: bool = True

    @property
    def path(self) -> Path:
        return Path(os.path.expanduser(self.spec))


@dataclass
class Listing:
    """The pictures of a source as columns, before classes and splits are decided. Row i of each belongs together.

    `names`: what a person calls a picture. `identities`: what stays the same when the source is moved elsewhere; the
    split and the fingerprint hang on it. `labels`: a class name a row, or a tuple of them where `multilabel`.
    `splits`: "train", "val" or "test" a row, None where the source has no splits of its own. `sizes`: bytes, int64.
    `declared`: class names that the source knows although perhaps no picture has them, by split.
    `hashes`: of the content of each picture, where they are known without reading it.
    `numeric_order`: class names that are all whole numbers are ordered as numbers; else as strings.
    """

    names: Sequence[str]
    identities: Sequence[str]
    labels: Sequence[str] | Sequence[tuple[str, ...]]
    splits: Sequence[str] | None
    sizes: np.ndarray
    reader: Reader
    multilabel: bool = False
    declared: dict[str, set[str]] = field(default_factory=dict)
    class_order: tuple[str, ...] | None = None
    numeric_order: bool = False
    content: str = ""
    hashes: Sequence[str] | None = None
    notes: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class SourceKind:
    """One line of the registry. `example` is what a message shows; `recognizes` looks only at what is there."""

    example: str
    recognizes: Callable[[Request], bool]
    open: Callable[[Request], Source]


def first_names(names: Sequence[str], limit: int = 3) -> str:
    """'a', 'b', 'c' and 12 more"""
    shown = ", ".join(repr(name) for name in names[:limit])
    return shown if len(names) <= limit else f"{shown} and {len(names) - limit} more"


def counted(count: int, singular: str, plural: str = "") -> str:
    """1 picture, 2 pictures"""
    return f"{count:,} {singular if count == 1 else plural or singular + 's'}"
