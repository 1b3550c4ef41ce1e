"""Data sets of the Hugging Face hub, through their library `datasets`: one column of images, one of labels.

    hf:owner/name      hf:owner/name:configuration      hf:./folder (Parquet or images in the layout of the hub)

The library fetches what is not yet in its cache, unless it is told to stay offline (HF_HUB_OFFLINE=1); it never runs
code of a data set. Pictures are decoded by us, like all others.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from typing import Any

import numpy as np

from vitrail.data.source import Source
from vitrail.data.sources.assemble import assemble
from vitrail.data.sources.contract import Listing, Request
from vitrail.data.sources.layout import SPLIT_NAMES
from vitrail.data.sources.manifest import LABEL_COLUMNS, names_in
from vitrail.data.sources.readers import MAX_BYTES, FileReader
from vitrail.errors import DataError, ImageError, UsageError

PREFIX = "hf:"


@dataclass(frozen=True)
class HubReader:
    """Row `key` of the image columns of all splits, laid end to end. `columns`: Arrow columns of {bytes, path}."""

    columns: tuple[Any, ...]
    ends: np.ndarray
    names: list[str]

    def read(self, key: int) -> bytes:
        which = int(np.searchsorted(self.ends, key, side="right"))
        cell = self.columns[which][key - int(self.ends[which - 1]) if which else key].as_py() or {}
        content = cell.get("bytes")
        if content is None and cell.get("path"):
            return FileReader([cell["path"]]).read(0)
        if not content or len(content) > MAX_BYTES:
            raise ImageError(self.names[key], "there is no picture in this row" if not content else
                             f"has {len(content):,} bytes; {MAX_BYTES:,} are allowed")
        return bytes(content)


def recognizes(request: Request) -> bool:
    return request.spec.startswith(PREFIX)


def open_hub(request: Request) -> Source:
    """Open a data set of the hub. Raises UsageError where the library is missing, DataError where the data set is, or
    has no column of images or labels that can be told."""
    loaded = load(request.spec)
    parts = {name: split for name, split in loaded.items() if SPLIT_NAMES.get(name.lower()) and len(split)}
    if not parts:
        raise DataError(f"{request.spec} has the splits {', '.join(loaded) or 'none'}; known are "
                        f"{', '.join(SPLIT_NAMES)}.")
    first = next(iter(parts.values()))
    image = only_column([name for name, kind in first.features.items() if type(kind).__name__ == "Image"],
                        ("image", "img"), "images", request.spec)
    label = label_column(first.features, request.spec)
    classes = getattr(first.features[label], "names", None) or getattr(
        getattr(first.features[label], "feature", None), "names", None)
    cells = [cell for split in parts.values() for cell in split.data.column(label).to_pylist()]
    multilabel = any(isinstance(cell, list) for cell in cells)
    rows = [names_of(cell, classes, request.spec, row) for row, cell in enumerate(cells)]
    if not multilabel and not all(rows):
        raise DataError(f"{request.spec}: row {rows.index(()) + 1} has no label. Give every picture one.")
    columns = tuple(split.data.column(image) for split in parts.values())
    identities = [f"{name}/{row}" for name, split in parts.items() for row in range(len(split))]
    names = [f"{request.spec}:{identity}" for identity in identities]
    listing = Listing(
        names, identities, rows if multilabel else [row[0] for row in rows],
        [SPLIT_NAMES[name.lower()] for name, split in parts.items() for _ in range(len(split))],
        np.concatenate([sizes(column) for column in columns]),
        HubReader(columns, np.cumsum([len(split) for split in parts.values()]), names),
        multilabel=multilabel, class_order=tuple(classes) if classes else None, numeric_order=True)
    left = sorted(set(loaded) - set(parts))
    if left:
        listing.notes.append(f"splits that are not used: {', '.join(left)}")
    return assemble(listing, request, f"data set of the Hugging Face hub ({image}, {label})")


def load(spec: str) -> dict[str, Any]:
    """The splits of a data set by name, images left as files."""
    try:
        import datasets
    except ImportError:
        raise UsageError(f"{spec} is read by the library of the hub. Install it: pip install 'vitrail[hub]'") from None
    match = re.fullmatch(r"hf:([^:]+?)(?::([^:]+))?", spec)
    if match is None:
        raise UsageError(f"{spec} names no data set. Write hf:owner/name, or hf:owner/name:configuration.")
    datasets.disable_progress_bars()
    try:
        loaded = datasets.load_dataset(match[1], match[2])
    except Exception as error:  # the library raises its own, the network's and Arrow's
        reason = " ".join(str(error).split())[:300].rstrip(".") or type(error).__name__
        offline = " HF_HUB_OFFLINE is set: only what is in the cache opens." if datasets.config.HF_HUB_OFFLINE else ""
        raise DataError(f"{spec} cannot be loaded: {reason}.{offline} Look at the name and the network, or download "
                        "the data set where there is one and give its folder: hf:./folder") from None
    return dict(loaded)


def only_column(found: list[str], preferred: tuple[str, ...], what: str, spec: str) -> str:
    """The one column there is, or the first of the usual names where there are several."""
    usual = [name for name in preferred if name in found]
    if len(found) == 1 or usual:
        return usual[0] if usual else found[0]
    raise DataError(f"{spec} has {len(found)} columns of {what} ({', '.join(found) or 'none'}); one is needed, or one "
                    f"called {' or '.join(preferred)}.")


def label_column(features: Any, spec: str) -> str:
    """The column of labels: one of named classes, else one with a usual name."""
    def named(kind: Any) -> bool:
        return type(kind).__name__ == "ClassLabel" or type(getattr(kind, "feature", None)).__name__ == "ClassLabel"

    classes = [name for name, kind in features.items() if named(kind)]
    usual = [name for name in LABEL_COLUMNS if name in features]
    return only_column(classes or usual, LABEL_COLUMNS, "labels", spec)


def names_of(cell: Any, classes: list[str] | None, spec: str, row: int) -> tuple[str, ...]:
    """The labels of a cell as names. -1 and null are the hub's ways to say that there is none."""
    numbers = cell if isinstance(cell, list) else [cell]
    if classes is None:
        return names_in(cell, spec, row + 1)
    known = [number for number in numbers if number is not None and number != -1]
    if any(not 0 <= number < len(classes) for number in known):
        raise DataError(f"{spec}: row {row + 1} has the label {max(known)}; {len(classes)} classes are named.")
    return tuple(dict.fromkeys(classes[number] for number in known))


def sizes(column: Any) -> np.ndarray:
    """Bytes of each picture, in the table or in a file beside it; int64 [pictures]."""
    import pyarrow.compute

    result = []
    for chunk in column.chunks:
        inside = pyarrow.compute.binary_length(chunk.field("bytes")).to_pylist()
        paths = chunk.field("path").to_pylist()
        result += [os.path.getsize(path) if size is None and path and os.path.isfile(path) else size or 0
                   for size, path in zip(inside, paths, strict=True)]
    return np.array(result, np.int64)
