"""Features: what a trained model makes of every image of a split before its linear head, computed once.

    features(bundle, source, "train") -> Features(values [images, width], labels [images], unread)
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryFile
from typing import IO, Any, Literal

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from vitrail.bundle import Bundle, checksum
from vitrail.data.loader import in_order
from vitrail.data.source import Source, Split
from vitrail.data.sources.builtin import cache_folder
from vitrail.errors import BundleError, DataError, ImageError, SaveError, UnknownNameError
from vitrail.evaluation import Unread
from vitrail.evaluation.frozen.feature_cache import Entry, keep, recall
from vitrail.models import Model
from vitrail.vocabulary import Images, Progress, RawImages

Layer = Literal["embedding", "patches", "both"]

LAYERS: dict[str, Callable[[Model, Images], Float[Tensor, "batch width"]]] = {
    "embedding": lambda model, images: model.embed(images),
    "patches": lambda model, images: model.feature_map(images).mean((2, 3)),
    "both": lambda model, images: torch.cat([model.embed(images), model.feature_map(images).mean((2, 3))], 1),
}
"""The vector that the head reads, the mean of the patches, or one after the other."""


@dataclass(frozen=True)
class Features:
    """`values`: float32 [images, width], read-only and mapped from disk. `rows` and `labels`: which images of the split
    these are, and their labels as `Split` has them. `unread`: the pictures that have no features, which no other
    picture stands in for."""

    values: Float[np.ndarray, "images width"]
    rows: Int[np.ndarray, " images"]
    labels: np.ndarray
    unread: tuple[Unread, ...] = ()

    def __len__(self) -> int:
        return len(self.values)


def features(bundle: Bundle, source: Source, name: str, *, rows: np.ndarray | None = None,
             layer: Layer = "embedding", cache: Path | None = None, batch_size: int = 64, workers: int | None = None,
             progress: Callable[[Progress], None] | None = None) -> Features:
    """The features of the split `name`, or of these `rows` of it; from `cache` where they have been computed before.

    `cache`: a folder; `features` in vitrail's own cache without. The key is of the weights, the preprocessing, the
    layer, the source's fingerprint and the rows. Raises DataError where no picture can be read, BundleError where the
    features are not finite, UnknownNameError for a layer that does not exist.
    """
    if layer not in LAYERS:
        raise UnknownNameError("layer", layer, LAYERS)
    split = source.splits[name] if rows is None else source.splits[name].subset(rows)
    if not len(split):
        raise DataError(f"There is no image to make features of: {name} of {source.spec} is empty.")
    folder = cache_folder() / "features" if cache is None else cache
    identity = identity_of(bundle, source, name, split, layer)
    found = recall(folder, identity, len(split))
    if found is None:
        found = compute(bundle, split, identity, layer, folder, batch_size, workers, progress)
        if keep(folder, found[1], found[0]):
            found = recall(folder, identity, len(split)) or found
    values, entry = found
    read = np.delete(np.arange(len(split)), entry.missing)
    asked = np.arange(len(split)) if rows is None else rows
    return Features(values, asked[read], split.labels[read], entry.unread)


def identity_of(bundle: Bundle, source: Source, name: str, split: Split, layer: str) -> dict[str, Any]:
    """Everything that the features depend on, as JSON."""
    weights = {key: value.detach().float().contiguous().cpu() for key, value in bundle.model.state_dict().items()}
    config = json.dumps(bundle.model.config.model_dump(mode="json"))
    return {"version": 1, "weights": checksum(config, weights), "data": source.fingerprint, "split": name,
            "pictures": hashlib.sha256(np.ascontiguousarray(split.keys).tobytes()).hexdigest(), "layer": layer,
            "preprocess": bundle.preprocess.model_dump(mode="json")}


def compute(bundle: Bundle, split: Split, identity: dict[str, Any], layer: Layer, folder: Path, batch_size: int,
            workers: int | None, progress: Callable[[Progress], None] | None) -> tuple[np.ndarray, Entry]:
    """One pass over the split. Values go to a nameless file as they come, so memory holds a batch at a time."""
    errors: list[ImageError] = []
    rows: list[np.ndarray] = []
    width, done, started = 0, 0, time.perf_counter()
    with scratch(folder) as file:
        for raw, indices, failed in in_order(split, bundle.preprocess, batch_size, workers):
            errors.extend(failed)
            if len(indices):
                values = embedded(bundle, raw, layer)
                check_finite(values, split.names[int(indices[0])])
                rows.append(indices.numpy())
                width = values.shape[1]
                write(file, values.numpy(), folder)
            done += len(indices) + len(failed)
            if progress is not None:
                progress(Progress(done, len(split), done / max(time.perf_counter() - started, 1e-9)))
        if not rows:
            raise DataError(f"None of the {len(split)} images can be read. The first: {errors[0]}.")
        read = np.concatenate(rows)
        stored = np.memmap(file, np.float32, "r", shape=(len(read), width))  # outlives the file's handle
    missing = np.setdiff1d(np.arange(len(split)), read).tolist()
    unread = tuple(Unread(path=error.path, error=error.reason) for error in errors)
    return stored, Entry(of=identity, missing=tuple(missing), unread=unread)


@torch.inference_mode()
def embedded(bundle: Bundle, raw: RawImages, layer: Layer) -> Float[Tensor, "batch width"]:
    """Features of uint8 images as `preprocess.apply` makes them, float32 on the CPU."""
    parameter = next(bundle.model.parameters())
    was_training = bundle.model.training
    bundle.model.eval()
    images = bundle.preprocess.normalize(raw.to(parameter.device)).to(parameter.dtype)
    values = LAYERS[layer](bundle.model, images).float().cpu()
    bundle.model.train(was_training)
    return values


def check_finite(values: Tensor, name: str) -> None:
    if not bool(values.isfinite().all()):
        raise BundleError(f"The model's features of {name} (or an image beside it) are not finite numbers. Its "
                          "training has diverged or its weights are damaged; use another checkpoint.")


def scratch(folder: Path) -> IO[bytes]:
    """A file without a name, gone with the process: in the cache where that can be written, else where the system
    has its own."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        return TemporaryFile(dir=folder)
    except OSError:
        return TemporaryFile()


def write(file: IO[bytes], values: np.ndarray, folder: Path) -> None:
    try:
        file.write(np.ascontiguousarray(values, np.float32).tobytes())
        file.flush()
    except OSError as error:
        raise SaveError(f"The features cannot be kept in {folder}: {error.strerror}. Free some space or choose another "
                        "folder (--cache).") from error
