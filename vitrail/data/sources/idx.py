"""IDX folders, the format of MNIST: {train,t10k}-{images-idx3,labels-idx1}-ubyte, gzipped or not."""

from __future__ import annotations

import gzip
import hashlib
import math
import os
import re
import zlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from vitrail.data.source import Source
from vitrail.data.sources.assemble import assemble
from vitrail.data.sources.contract import Listing, Request
from vitrail.data.sources.readers import ArrayReader
from vitrail.errors import DataError

FILE_NAME = re.compile(r"(train|t10k|test)-(images[-.]idx3|labels[-.]idx1)-ubyte(\.gz)?")
MAGIC = {"images": 0x00000803, "labels": 0x00000801}
"""Two zero bytes, 8 for unsigned bytes, and the number of axes."""

MAX_RATIO = 1100
"""Deflate makes at most 1,032 bytes of one; a header that promises more is false."""


def recognizes(request: Request) -> bool:
    return request.path.is_dir() and bool(files_of(request.path))


def open_idx(request: Request) -> Source:
    """Open an IDX folder; its classes are the label numbers as they occur in train."""
    return idx_source(read_folder(request.path), request, f"{request.spec}/", "IDX folder (MNIST's format)")


def idx_source(splits: dict[str, tuple[np.ndarray, np.ndarray]], request: Request, prefix: str, kind: str,
               classes: tuple[str, ...] | None = None, indices: dict[str, np.ndarray] | None = None,
               notes: Sequence[str] = ()) -> Source:
    """A Source of (images, labels) by split. `classes` names the label numbers, else the numbers are the names;
    `indices` says what number each picture has in its name, else they are counted from 0."""
    shapes = {images.shape[1:] for images, _ in splits.values()}
    if len(shapes) > 1:
        raise DataError(f"{request.spec}: the splits hold pictures of different sizes, "
                        f"{' and '.join(f'{h} x {w}' for h, w in sorted(shapes))}. They must be of one size.")
    images = np.concatenate([images for images, _ in splits.values()])
    numbers = np.concatenate([labels for _, labels in splits.values()])
    if classes is not None and len(numbers) and int(numbers.max()) >= len(classes):
        raise DataError(f"{request.spec} has the label {int(numbers.max())}; {len(classes)} classes are known.")
    identities = [f"{name}/{row}" for name, (_, labels) in splits.items()
                  for row in (range(len(labels)) if indices is None else indices[name].tolist())]
    listing = Listing(
        names=[prefix + identity for identity in identities], identities=identities,
        labels=[classes[number] if classes else str(number) for number in numbers.tolist()],
        splits=[name for name, (_, labels) in splits.items() for _ in range(len(labels))],
        sizes=np.full(len(numbers), math.prod(images.shape[1:]), np.int64), reader=ArrayReader(images),
        class_order=classes, numeric_order=True, notes=list(notes),
        content=hashlib.sha256(images.data).hexdigest())
    return assemble(listing, request, kind)


def read_folder(folder: Path) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """(images uint8 [pictures, height, width], labels uint8 [pictures]) by split. Raises DataError naming the file."""
    files = files_of(folder)
    splits = {}
    for split in ("train", "test"):
        if (split, "images") not in files and (split, "labels") not in files:
            continue
        for part, other in (("images", "labels"), ("labels", "images")):
            if (split, part) not in files:
                raise DataError(f"{folder} has {files[split, other].name} but not the {part} that belong to it.")
        images, labels = (read_idx(files[split, part], part) for part in ("images", "labels"))
        if len(images) != len(labels):
            raise DataError(f"{folder}: {len(images):,} {split} images but {len(labels):,} labels. "
                            "The two files do not belong together.")
        splits[split] = images, labels
    return splits


def files_of(folder: Path) -> dict[tuple[str, str], Path]:
    """The IDX files of a folder by (split, "images" or "labels"); an unpacked file goes before its .gz."""
    found = {}
    for name in sorted(os.listdir(folder), reverse=True):
        match = FILE_NAME.fullmatch(name)
        if match and (folder / name).is_file():
            found["train" if match[1] == "train" else "test", match[2][:6]] = folder / name
    return found


def read_idx(path: Path, part: str) -> np.ndarray:
    """One IDX file as uint8 [pictures, height, width] or [pictures]; header and length are checked before reading."""
    axes = 3 if part == "images" else 1
    packed = path.stat().st_size
    try:
        with gzip.open(path) if path.suffix == ".gz" else open(path, "rb") as file:
            header = file.read(4 + 4 * axes)
            magic, *shape = (int(value) for value in np.frombuffer(header[:len(header) // 4 * 4], ">u4"))
            if magic != MAGIC[part] or len(shape) != axes:
                raise DataError(f"{path} does not begin as an IDX file of {part}: {magic:#010x} was found, "
                                f"{MAGIC[part]:#010x} is needed.")
            size = math.prod(shape)
            limit = packed * MAX_RATIO if path.suffix == ".gz" else packed
            content = file.read(size + 1) if size <= limit else b""
    except (OSError, EOFError, zlib.error, ValueError) as error:
        raise DataError(f"{path} cannot be read ({error}). Fetch it again.") from error
    if len(content) != size or 0 in shape:
        raise DataError(f"{path} should hold {' x '.join(map(str, shape))} bytes by its header, but it does not: "
                        "it was cut short or is not this file. Fetch it again.")
    return np.frombuffer(content, np.uint8).reshape(shape)
