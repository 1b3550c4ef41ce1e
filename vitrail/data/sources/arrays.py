"""Arrays in one .npz file: `images` uint8 [N, height, width] or [N, height, width, 3] and `labels` [N].

    images, labels                                        one set; splits are made
    train_images, train_labels, test_images, ...          splits (train, val, test); x_train, y_train ... likewise
    classes                                               optional names of the label numbers
    images alone, or train_images, test_images            where no label is needed

Labels are whole numbers, text, or 0/1 in [N, classes] for several labels a picture. Nothing is unpickled.
"""

from __future__ import annotations

import hashlib
import math
import zipfile
import zlib
from pathlib import Path

import numpy as np

from vitrail.data.source import SPLITS, Source
from vitrail.data.sources.assemble import assemble
from vitrail.data.sources.contract import Listing, Request
from vitrail.data.sources.readers import ArrayReader
from vitrail.errors import DataError

KEYS = {"": [("images", "labels"), ("x", "y")],
        **{split: [(f"{split}_images", f"{split}_labels"), (f"x_{split}", f"y_{split}")] for split in SPLITS}}
"""The names of images and labels, by split; "" where there are no splits."""

DARK = 31
"""A picture without anything brighter is hardly one of 0 to 255; the digits of scikit-learn, for one, end at 16."""

LAYOUTS = "images are uint8 [N, height, width] or [N, height, width, 3], labels are [N] or 0/1 [N, classes]"


def recognizes(request: Request) -> bool:
    return request.path.is_file() and request.path.suffix.lower() == ".npz"


def open_arrays(request: Request) -> Source:
    """Open an .npz file. Raises DataError that says which arrays are there and which are allowed."""
    arrays = read_arrays(request.path, request.spec)
    found = {split: pair for split, pairs in KEYS.items() for pair in pairs
             if pair[0] in arrays and (pair[1] in arrays or not request.labeled)}
    if not found or ("" in found and len(found) > 1):
        there = ", ".join(f"{name} {array.dtype} {list(array.shape)}" for name, array in arrays.items())
        raise DataError(f"{request.spec} has the arrays {there or 'none'}. Needed are images and labels, or "
                        f"train_images, train_labels, test_images, test_labels (or x_train, y_train, ...); {LAYOUTS}. "
                        "Without labels, learn by vitrail pretrain.")
    images = [check_images(arrays[pair[0]], f"{request.spec}: {pair[0]}") for pair in found.values()]
    shapes = {array.shape[1:] for array in images}
    if len(shapes) > 1:
        raise DataError(f"{request.spec}: the splits hold pictures of different shapes, {sorted(shapes)}. They must be "
                        "of one shape.")
    if not all(pair[1] in arrays for pair in found.values()):  # then none of them has one
        return arrays_source(request, list(found), images, [np.full(len(some), "") for some in images], None)
    labels, classes = [], arrays.get("classes")
    for pair, some in zip(found.values(), images, strict=True):
        labels.append(check_labels(arrays[pair[1]], len(some), f"{request.spec}: {pair[1]}"))
    return arrays_source(request, list(found), images, labels, classes)


def arrays_source(request: Request, splits: list[str], images: list[np.ndarray], labels: list[np.ndarray],
                  classes: np.ndarray | None) -> Source:
    """Put the parts together; labels become names here."""
    multilabel = labels[0].ndim == 2
    if len({part.shape[1:] for part in labels}) > 1:
        raise DataError(f"{request.spec}: the labels of its splits differ in shape; {LAYOUTS}.")
    width = labels[0].shape[1] if multilabel else 0
    names = class_names(classes, request.spec, width)
    rows: list[str] | list[tuple[str, ...]]
    if multilabel:
        tags = names or [str(index) for index in range(width)]
        rows = [tuple(tags[index] for index in np.flatnonzero(row)) for part in labels for row in part]
    else:
        rows = [name_of(label, names, request.spec) for part in labels for label in part.tolist()]
    identities = [f"{split or 'picture'}/{row}" for split, part in zip(splits, labels, strict=True)
                  for row in range(len(part))]
    pixels = images[0] if len(images) == 1 else np.concatenate(images)
    listing = Listing(
        names=[f"{request.spec}:{identity}" for identity in identities], identities=identities, labels=rows,
        splits=None if splits == [""] else np.repeat(splits, [len(part) for part in labels]).tolist(),
        sizes=np.full(len(pixels), math.prod(pixels.shape[1:]), np.int64), reader=ArrayReader(pixels),
        multilabel=multilabel, class_order=tuple(names) if names else None, numeric_order=True,
        warnings=dark_warnings(images, request.spec),
        content=hashlib.sha256(np.ascontiguousarray(pixels).data).hexdigest())
    own = ("" if splits == [""] else ", with splits of its own") + ("" if any(rows) else ", without labels")
    return assemble(listing, request, f"arrays of {' x '.join(map(str, pixels.shape[1:]))} pixels{own}")


def read_arrays(path: Path, spec: str) -> dict[str, np.ndarray]:
    """The arrays of an .npz file by name. The size that a header promises is checked before memory is taken for it."""
    wanted = {name for pairs in KEYS.values() for pair in pairs for name in pair} | {"classes"}
    try:
        with zipfile.ZipFile(path) as archive:
            packed = {info.filename: info for info in archive.infolist()}
            for name in wanted:
                if f"{name}.npy" in packed:
                    check_header(archive, packed[f"{name}.npy"], spec)
        with np.load(path, allow_pickle=False) as opened:
            return {name: opened[name] for name in opened.files if name in wanted}
    except (zipfile.BadZipFile, zlib.error, OSError, ValueError, EOFError, NotImplementedError) as error:
        raise DataError(f"{spec} cannot be read as .npz ({error}). Save it again with numpy.savez_compressed; arrays "
                        "of Python objects are never read.") from error


def check_header(archive: zipfile.ZipFile, info: zipfile.ZipInfo, spec: str) -> None:
    """Raise DataError where an array's header does not fit the bytes that follow it."""
    with archive.open(info) as file:
        version = np.lib.format.read_magic(file)
        read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
        shape, _, dtype = read(file)
        expected = file.tell() + math.prod(shape) * dtype.itemsize
    if dtype.hasobject:
        raise DataError(f"{spec}: {info.filename} holds Python objects, which are never read. Save numbers or text.")
    if expected != info.file_size or info.file_size > max(info.compress_size, 1) * 1100:
        raise DataError(f"{spec}: {info.filename} promises {list(shape)} of {dtype}, but its size does not fit. It is "
                        "damaged.")


def check_images(images: np.ndarray, what: str) -> np.ndarray:
    """The images as uint8 [N, height, width] or [N, height, width, 3]; one channel at the end is dropped."""
    if images.dtype != np.uint8:
        advice = to_bytes(images) if images.dtype.kind in "fb" else (
            "Convert them with .astype('uint8') if they are 0 to 255.")
        raise DataError(f"{what} is {images.dtype}; only uint8 is allowed, so that no scale is guessed. {advice}")
    if images.ndim == 4 and images.shape[3] == 1:
        images = images[..., 0]
    if images.ndim == 4 and images.shape[1] in (1, 3) and images.shape[3] != 3:
        raise DataError(f"{what} has the shape {list(images.shape)}, channels first. Save "
                        "images.transpose(0, 2, 3, 1).")
    if images.ndim not in (3, 4) or (images.ndim == 4 and images.shape[3] != 3) or 0 in images.shape:
        raise DataError(f"{what} has the shape {list(images.shape)}; {LAYOUTS}.")
    return images


def to_bytes(images: np.ndarray) -> str:
    """How numbers of this range become uint8, in words."""
    least, most = (float(end(images)) for end in (np.nanmin, np.nanmax)) if images.size else (0.0, 0.0)
    ways = ((0, 1, "images * 255"), (-1, 1, "(images + 1) * 127.5"), (0, 255, "images"))
    way = next((how for low, high, how in ways if low <= least and most <= high), None)
    given = f"They go from {least:.3g} to {most:.3g}"
    if way is None:
        return f"{given}, as after subtracting a mean: save the pictures as they were before that, 0 to 255."
    return f"{given}: save ({way}).round().astype('uint8')."


def dark_warnings(images: list[np.ndarray], spec: str) -> list[str]:
    """A warning for pictures that are nearly black, as numbers from 0 to 1 are that were saved as bytes."""
    brightest = max(int(part.max()) for part in images)
    if brightest > DARK:
        return []
    return [f"{spec}: no number in any picture is above {brightest} of 255, so all look black"
            + (f". If {brightest} means white, save images * {255 // brightest}." if brightest else ".")]


def check_labels(labels: np.ndarray, count: int, what: str) -> np.ndarray:
    """Labels as whole numbers or text [N], or 0/1 [N, classes]; [N, 1] is taken as [N]."""
    if labels.ndim == 2 and labels.shape[1] == 1:
        labels = labels[:, 0]
    if len(labels.shape) not in (1, 2) or labels.dtype.kind not in "iubU":
        raise DataError(f"{what} is {labels.dtype} {list(labels.shape)}; {LAYOUTS}, whole numbers or text.")
    if len(labels) != count:
        raise DataError(f"{what} has {len(labels):,} rows for {count:,} images. They must be as many.")
    if labels.ndim == 2 and (labels.dtype.kind == "U" or not np.isin(labels, (0, 1)).all()):
        raise DataError(f"{what} has the shape {list(labels.shape)} and other values than 0 and 1; {LAYOUTS}.")
    return labels


def class_names(classes: np.ndarray | None, spec: str, width: int) -> list[str]:
    """The names of the label numbers, or [] where the file has none."""
    if classes is None:
        return []
    names = [str(name) for name in classes.reshape(-1).tolist()]
    if classes.dtype.kind not in "iuU" or len(set(names)) != len(names) or (width and width != len(names)):
        raise DataError(f"{spec}: classes must be different names as text, one for each label number"
                        f"{f' ({width} here)' if width else ''}; it is {classes.dtype} {list(classes.shape)}.")
    return names


def name_of(label: int | str | bool, names: list[str], spec: str) -> str:
    if isinstance(label, str) or not names:
        if names and label not in names:
            raise DataError(f"{spec} has the label {label!r}, which its classes do not hold.")
        return label if isinstance(label, str) else str(int(label))
    if not 0 <= label < len(names):
        raise DataError(f"{spec} has the label {label}; its classes name 0 to {len(names) - 1}.")
    return names[label]
