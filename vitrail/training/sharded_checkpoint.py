"""The tensors of a checkpoint that are spread over processes: torch.distributed.checkpoint, in safetensors.

    shard-00001-....safetensors    the parts of process 0: "weights/NAME", "optimizer/exp_avg/NAME", "average/NAME",
                                   "memory/NAME"

Its usual format is a pickle, which could run programs when it is opened; this one cannot.
"""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import torch
from torch import Tensor

from vitrail.errors import BundleError, SaveError
from vitrail.files import sha256, staged_folder, sync_file
from vitrail.training.parallel import World

PATTERN = "shard-*.safetensors"
Tensors = dict[str, Tensor]


def is_sharded(path: Path) -> bool:
    return any(path.glob(PATTERN))


def write_shards(target: Path, tensors: Tensors, finish: Callable[[Path], None], world: World) -> None:
    """All tensors into the folder `target`, each process its parts (collective); the first one calls `finish` with the
    folder before it gets its name. Raises SaveError in all of them where it fails in one."""
    checksums: dict[str, str] = {}
    trouble: str | None = None
    try:
        with staged_for_all(target, checksums, world) as place:
            parts = world.gathered(write_parts(place, tensors, world))
            for written, words in parts:
                checksums |= written
                if words:
                    raise SaveError(words)
            if world.first:
                finish(place)
    except SaveError as error:
        trouble = str(error)
    if trouble := next((words for words in world.gathered(trouble) if words), None):
        raise SaveError(trouble)


@contextlib.contextmanager
def staged_for_all(target: Path, checksums: Mapping[str, str], world: World) -> Iterator[Path]:
    """The folder that the first process stages, in all of them (collective): where it cannot, all raise SaveError."""
    with contextlib.ExitStack() as stack:
        place: Path | str = ""
        if world.first:
            try:
                place = stack.enter_context(staged_folder(target, checksums))
            except SaveError as error:
                place = str(error)
        place = world.told(place)
        if isinstance(place, str):
            raise SaveError(place)
        yield place


def write_parts(place: Path, tensors: Tensors, world: World) -> tuple[dict[str, str], str | None]:
    """SHA-256 of the files that this process wrote, and what went wrong."""
    import torch.distributed.checkpoint as dcp
    from torch.distributed.checkpoint.api import CheckpointException
    from torch.distributed.checkpoint.hf_storage import HuggingFaceStorageWriter

    try:
        with quiet():
            dcp.save(tensors, storage_writer=HuggingFaceStorageWriter(str(place), save_distributed=True),
                     process_group=world.group)
        own = list(place.glob(f"shard-{world.rank + 1:05d}-*.safetensors"))
        for file in own:
            sync_file(file)
        return {file.name: sha256(file) for file in own}, None
    except (CheckpointException, OSError) as error:
        return {}, f"Cannot save {place}: {reason(error)}. Free some space or choose another --out."


def read_shards(path: Path, like: Mapping[str, Tensor]) -> Tensors:
    """All tensors in the files (collective). Those whose last words are a name in `like`, and which have its shape, are
    cut as that one is; the others come whole. Raises BundleError."""
    import torch.distributed.checkpoint as dcp
    from torch.distributed.checkpoint.api import CheckpointException
    from torch.distributed.checkpoint.hf_storage import HuggingFaceStorageReader

    try:
        with quiet():
            reader = HuggingFaceStorageReader(str(path))
            tensors = {}
            for key, entry in reader.read_metadata().state_dict_metadata.items():
                pattern = next((like[name] for name in endings(key) if name in like), None)
                fits = pattern is not None and pattern.shape == entry.size  # type: ignore[union-attr]
                tensors[key] = torch.zeros_like(pattern) if fits else torch.zeros(entry.size)  # type: ignore
            dcp.load(tensors, storage_reader=reader, no_dist=not torch.distributed.is_initialized())
    except (CheckpointException, RuntimeError, ValueError, KeyError, OSError) as error:
        raise BundleError(f"{path} cannot be read: {reason(error)}.") from error
    return tensors


def endings(key: str) -> list[str]:
    """What may be the name of a parameter in "weights/NAME" and "optimizer/exp_avg/NAME"."""
    return key.split("/", 2)[1:]


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Without torch's remarks on what is experimental."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def reason(error: BaseException) -> str:
    """Of several processes' errors, the first."""
    failures = getattr(error, "failures", None)
    first = next(iter(failures.values()))[0] if failures else error
    return str(first) or type(first).__name__
