"""Embedded data sets: contact sheets of small grey pictures (PNG, lossless) with one JSON index.

    embedded/fashion/{index.json, train-bag.png, ...}      25 pictures in a row, in the order of the index

A sheet is an ordinary picture, so a person can look at the data with any viewer.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from vitrail.errors import DataError

EMBEDDED = Path(__file__).parent / "embedded"
INDEX = "index.json"


@dataclass(frozen=True)
class Pictures:
    """One split in memory: `images` uint8 [pictures, height, width], `labels` int64 [pictures], and `indices`
    int64 [pictures], the place of each in the original data set."""

    images: np.ndarray
    labels: np.ndarray
    indices: np.ndarray


def pixel_checksum(splits: dict[str, Pictures]) -> str:
    """SHA-256 over pixels, labels and indices. The PNG bytes are not hashed: they differ between builds of zlib."""
    digest = hashlib.sha256()
    for name in sorted(splits):
        part = splits[name]
        digest.update(f"{name} {part.images.shape}\n".encode())
        for array, kind in ((part.images, "u1"), (part.labels, "<i8"), (part.indices, "<i8")):
            digest.update(np.ascontiguousarray(array, dtype=kind).tobytes())
    return digest.hexdigest()


def write_sheet(path: Path, images: np.ndarray, columns: int) -> None:
    """Write pictures uint8 [pictures, height, width] as one grey PNG, row by row; empty places are black."""
    count, height, width = images.shape
    rows = -(-count // columns)
    padded = np.zeros((rows * columns, height, width), np.uint8)
    padded[:count] = images
    grid = padded.reshape(rows, columns, height, width).transpose(0, 2, 1, 3)
    Image.fromarray(grid.reshape(rows * height, columns * width)).save(path, "PNG", optimize=True)


def read_sheet(path: Path, count: int, height: int, width: int) -> np.ndarray:
    """The first `count` pictures of a sheet, uint8 [count, height, width]."""
    with Image.open(path) as opened:
        pixels = np.asarray(opened.convert("L"))
    rows, columns = pixels.shape[0] // height, pixels.shape[1] // width
    tiles = pixels.reshape(rows, height, columns, width).transpose(0, 2, 1, 3)
    return tiles.reshape(-1, height, width)[:count]


def write_sheets(folder: Path, splits: dict[str, Pictures], classes: list[str], columns: int, by_class: bool) -> str:
    """Write an embedded data set and return its checksum. `by_class` makes one sheet a class instead of one a split."""
    sheets = []
    for split, part in splits.items():
        for label in range(len(classes)) if by_class else [None]:
            chosen = np.flatnonzero(part.labels == label) if label is not None else np.arange(len(part.labels))
            file = f"{split}-{slug(classes[label])}.png" if label is not None else f"{split}.png"
            write_sheet(folder / file, part.images[chosen], columns)
            labels = label if label is not None else part.labels[chosen].tolist()
            sheets.append({"file": file, "split": split, "labels": labels,
                           "indices": part.indices[chosen].tolist()})
    height, width = next(iter(splits.values())).images.shape[1:]
    checksum = pixel_checksum(splits)
    index = {"classes": classes, "height": height, "width": width, "sha256": checksum, "sheets": sheets}
    (folder / INDEX).write_text(json.dumps(index, separators=(",", ":")) + "\n")
    return checksum


def read_sheets(folder: Path) -> tuple[tuple[str, ...], dict[str, Pictures], str]:
    """Classes, splits in the original order, and checksum of an embedded data set. Raises DataError if damaged."""
    try:
        index = json.loads((folder / INDEX).read_text())
        found: dict[str, list[Pictures]] = {}
        for sheet in index["sheets"]:
            indices = np.array(sheet["indices"], np.int64)
            labels = np.broadcast_to(np.array(sheet["labels"], np.int64), indices.shape)
            images = read_sheet(folder / sheet["file"], len(indices), index["height"], index["width"])
            found.setdefault(sheet["split"], []).append(Pictures(images, labels, indices))
        splits = {name: merge(parts) for name, parts in found.items()}
    except (OSError, ValueError, KeyError) as error:
        raise DataError(f"The embedded data in {folder} cannot be read ({error}). Install vitrail again.") from error
    if pixel_checksum(splits) != index["sha256"]:
        raise DataError(f"The embedded data in {folder} has changed since it was built. Install vitrail again.")
    return tuple(index["classes"]), splits, index["sha256"]


def merge(parts: list[Pictures]) -> Pictures:
    """Several sheets of one split, put back into the original order."""
    indices = np.concatenate([part.indices for part in parts])
    order = np.argsort(indices, kind="stable")
    images, labels = (np.concatenate([getattr(part, key) for part in parts])[order] for key in ("images", "labels"))
    return Pictures(images, labels, indices[order])


def slug(name: str) -> str:
    """A class name as part of a file name: 'T-shirt/top' -> 't-shirt-top'."""
    return "".join(letter if letter.isalnum() else "-" for letter in name.lower())
