"""Features: what a trained model makes of every image of a split before its linear head, computed once.

    features(bundle, source, "train") -> Features(values [images, width], labels [images], unread)

Of several processes each computes every so many-th batch, and the first one writes them down in their order. A batch is
the one that a single process would have had, because the last bit of a feature hangs on the images beside it.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable, Generator
from contextlib import closing, nullcontext
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryFile
from typing import IO, Any, Literal, NamedTuple

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from vitrail.bundle import Bundle, checksum
from vitrail.data.loader import in_order
from vitrail.data.source import Source, Split
from vitrail.errors import BundleError, DataError, ImageError, RunError, SaveError, UnknownNameError
from vitrail.evaluation import Unread
from vitrail.evaluation.frozen.feature_cache import Entry, keep, key_of, recall
from vitrail.evaluation.frozen.together import ALONE, Processes, agreed, rounds
from vitrail.files import cache_folder
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
             progress: Callable[[Progress], None] | None = None, processes: Processes = ALONE) -> Features:
    """The features of the split `name`, or of these `rows` of it; from `cache` where they have been computed before.

    `cache`: a folder; `features` in vitrail's own cache without. The key is of the weights, the preprocessing, the
    layer, the source's fingerprint and the rows. `processes`: who computes them together (collective): the first has
    them in the end, with the cache that it sees, and the others have none. Their bits are those of one process with as
    many threads.

    Raises DataError where no picture can be read, BundleError where the features are not finite, UnknownNameError for a
    layer that does not exist, RunError where the processes were asked for different features.
    """
    if layer not in LAYERS:
        raise UnknownNameError("layer", layer, LAYERS)
    split = source.splits[name] if rows is None else source.splits[name].subset(rows)
    if not len(split):
        raise DataError(f"There is no image to make features of: {name} of {source.spec} is empty.")
    folder, first = cache_folder() / "features" if cache is None else cache, processes.rank == 0
    identity = agreed(lambda: identity_of(bundle, source, name, split, layer), processes)
    found = recall(folder, identity, len(split)) if first else None
    if must_compute(identity, found is None, processes):
        work = Work(bundle, split, layer, batch_size, workers)
        found = compute(work, identity, folder, progress, processes)
        if found is not None and keep(folder, found[1], found[0]):
            found = recall(folder, identity, len(split)) or found
    if found is None:
        return Features(np.empty((0, 0), np.float32), np.empty(0, np.int64), split.labels[:0])
    values, entry = found
    read = np.delete(np.arange(len(split)), entry.missing)
    asked = np.arange(len(split)) if rows is None else rows
    return Features(values, asked[read], split.labels[read], entry.unread)


def must_compute(identity: dict[str, Any], absent: bool, processes: Processes) -> bool:
    """Whether the first process has not found the features (collective). Raises RunError where others are asked for."""
    told = processes.gathered((key_of(identity), absent))
    for rank, (key, _) in enumerate(told):
        if key != told[0][0]:
            raise RunError(f"Process {rank} does not see the weights or the images of process 0. Give every machine "
                           "the same files under the same paths.")
    return told[0][1]


def identity_of(bundle: Bundle, source: Source, name: str, split: Split, layer: str) -> dict[str, Any]:
    """Everything that the features depend on, as JSON."""
    weights = {key: value.detach().float().contiguous().cpu() for key, value in bundle.model.state_dict().items()}
    config = json.dumps(bundle.model.config.model_dump(mode="json"))
    return {"version": 1, "weights": checksum(config, weights), "data": source.fingerprint, "split": name,
            "pictures": hashlib.sha256(np.ascontiguousarray(split.keys).tobytes()).hexdigest(), "layer": layer,
            "preprocess": bundle.preprocess.model_dump(mode="json")}


class Work(NamedTuple):
    """What is computed, and how."""

    bundle: Bundle
    split: Split
    layer: Layer
    batch_size: int
    workers: int | None


class Made(NamedTuple):
    """Features [images, width] of one batch, which images of the split they are of, and what could not be read."""

    values: Float[np.ndarray, "images width"]
    rows: Int[np.ndarray, " images"]
    errors: list[ImageError]


def compute(work: Work, identity: dict[str, Any], folder: Path, progress: Callable[[Progress], None] | None,
            processes: Processes) -> tuple[np.ndarray, Entry] | None:
    """One pass over the split by all processes (collective); None in all but the first. Values go to a nameless file as
    they come, so memory holds a batch of each process at a time."""
    errors: list[ImageError] = []
    rows: list[np.ndarray] = []
    images, done, started = len(work.split), 0, time.perf_counter()
    batches = np.array_split(np.arange(images), np.arange(work.batch_size, images, work.batch_size))
    own = np.concatenate([np.empty(0, np.int64), *batches[processes.rank :: processes.size]])
    first = processes.rank == 0
    with scratch(folder) if first else nullcontext() as file, closing(made(work, own)) as stream:
        def take(batch: Made) -> None:
            nonlocal done
            done += len(batch.rows) + len(batch.errors)
            errors.extend(batch.errors)
            if len(batch.rows):
                rows.append(batch.rows)
                if file is not None:
                    write(file, batch.values, folder)
            if progress is not None:
                progress(Progress(done, images, done / max(time.perf_counter() - started, 1e-9)))

        rounds(stream, -(-len(batches) // processes.size), take, processes)
        if not rows:
            raise DataError(f"None of the {images} images can be read. The first: {errors[0]}.")
        if file is None:
            return None
        read = np.concatenate(rows)
        stored = np.memmap(file, np.float32, "r").reshape(len(read), -1)  # outlives the file's handle
    missing = np.setdiff1d(np.arange(images), read).tolist()
    unread = tuple(Unread(path=error.path, error=error.reason) for error in errors)
    return stored, Entry(of=identity, missing=tuple(missing), unread=unread)


def made(work: Work, samples: np.ndarray) -> Generator[Made]:
    """Batch after batch of these images of the split."""
    for raw, indices, failed in in_order(work.split, work.bundle.preprocess, work.batch_size, work.workers,
                                        samples.tolist()):
        values = embedded(work.bundle, raw, work.layer) if len(indices) else torch.empty(0, 0)
        if len(indices):
            check_finite(values, work.split.names[int(indices[0])])
        yield Made(values.numpy(), indices.numpy(), failed)


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
