"""Everything that a run needs to go on as if it had never stopped, in one folder that is complete or absent.

    RUN/checkpoints/step-00001200/weights.safetensors     fp32 masters by name
                                 /optimizer.safetensors   moments, as "exp_avg/NAME"
                                 /average.safetensors     the moving average by name, where there is one
                                 /memory.safetensors      what else the objective remembers, where it does
                                 /state.json              step, samples, seconds, recipe hash, backend, best so far
                                 /manifest.json           SHA-256 of each, written last

A run whose parameters are sharded over processes writes shard-*.safetensors in the place of the first four, one from
each process, by torch.distributed.checkpoint. Either kind is read by any number of processes, sharded or not.

Random numbers and the order of samples are functions of (seed, step, position): they need no state here.
"""

from __future__ import annotations

import contextlib
import hashlib
import itertools
import json
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import torch
from pydantic import BaseModel, ConfigDict, ValidationError
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from vitrail.errors import BundleError, SaveError
from vitrail.files import recover_folder, staged_folder, verify_manifest, write_json
from vitrail.training.average import Average
from vitrail.training.backend import Backend
from vitrail.training.misfit import misfit
from vitrail.training.parallel import SOLO, World
from vitrail.training.parallel.parts import like
from vitrail.training.precision import Weights
from vitrail.training.sharded_checkpoint import Tensors, is_sharded, read_shards, write_shards

WEIGHTS, OPTIMIZER, STATE = "weights.safetensors", "optimizer.safetensors", "state.json"
AVERAGE, MEMORY = "average.safetensors", "memory.safetensors"


class State(BaseModel):
    """The small part of a checkpoint. `seconds`: spent in steps so far; `recipe`: hash of what must not change;
    `data`: fingerprint of the source ("" where a checkpoint is older than this field), and its `classes`;
    `counted`: what the objective counted of its targets, for the comparison in collapse.py."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    format_version: Literal[1] = 1
    step: int
    samples: int
    seconds: float
    recipe: str
    backend: Backend
    threads: int
    micro_batches: int = 1
    best: float | None = None
    best_step: int | None = None
    data: str = ""
    classes: tuple[str, ...] = ()
    counted: list[float] = []


@dataclass(frozen=True)
class Snapshot:
    """Copies of all that a checkpoint holds, in the processor's memory, by file: training may go on while they are
    written."""

    files: dict[str, dict[str, Tensor]]
    state: State
    sharded: bool


@torch.no_grad()
def snapshot(weights: Weights, optimizer: torch.optim.Optimizer, state: State, average: Average | None = None,
             memory: Tensors | None = None) -> Snapshot:
    """`memory`: what the objective remembers."""
    files = {WEIGHTS: dict(weights.named_masters()), OPTIMIZER: optimizer_tensors(optimizer)}
    if average is not None:
        files[AVERAGE] = average.named()
    if memory:
        files[MEMORY] = memory
    copies = {file: {name: value.detach().to("cpu", copy=True) for name, value in tensors.items()}
              for file, tensors in files.items()}
    return Snapshot(copies, state, weights.sharded)


def write_checkpoint(folder: Path, taken: Snapshot, world: World = SOLO) -> Path:
    """Write `folder/step-N`. Raises SaveError; whatever was complete before still is. Of a sharded one every process
    writes its part; else the first one calls this alone."""
    target = folder / f"step-{taken.state.step:08d}"

    def write_state(staged: Path) -> None:
        write_json(staged / STATE, taken.state.model_dump(mode="json"))

    if taken.sharded:
        parts = {f"{Path(file).stem}/{name}": value for file, tensors in taken.files.items()
                 for name, value in tensors.items()}
        write_shards(target, parts, write_state, world)
        return target
    with staged_folder(target) as staged:
        for file, tensors in taken.files.items():
            save_file({name: value.contiguous() for name, value in tensors.items()}, staged / file, {"format": "pt"})
        write_state(staged)
    return target


def prune_checkpoints(written: Path, keep: int = 2) -> None:
    """Delete what is older than `written`, a complete checkpoint, and the `keep` - 1 before it. Failing to delete is no
    harm. Raises SaveError where `written`, read again, is not what was written; all the others are then kept."""
    try:
        verify_checkpoint(written)
    except BundleError as error:
        raise SaveError(f"{error} The checkpoints before it are kept.") from None
    found = step_folders(written.parent)
    for old in found[found.index(written) + keep:]:
        shutil.rmtree(old, ignore_errors=True)


def step_folders(folder: Path) -> list[Path]:
    """Checkpoints by step, newest first."""
    found = [path for path in folder.glob("step-*") if path.is_dir() and path.name[5:].isdigit()]
    return sorted(found, key=lambda path: int(path.name[5:]), reverse=True)


def newest_checkpoint(folder: Path, strict: bool = False) -> tuple[Path | None, list[str]]:
    """The newest checkpoint whose checksums hold, and what was wrong with newer ones (they become `.corrupt`).

    Raises BundleError where the newest one is damaged and `strict` forbids to go back to an older one.
    """
    troubles: list[str] = []
    for aside in folder.glob(".old-step-*"):
        recover_folder(aside.with_name(aside.name.removeprefix(".old-")))
    found = step_folders(folder)
    for number, path in enumerate(found, 1):
        try:
            verify_checkpoint(path)
            return path, troubles
        except BundleError as error:
            if strict:
                raise BundleError(f"{error} --strict does not go back to an older checkpoint; leave it out to do so, "
                                  "or bring this one back.") from None
            then = "Falling back to the checkpoint before it." if number < len(found) else (
                "No checkpoint before it is left.")
            troubles.append(f"{error} {then}")
            set_aside(path)
    return None, troubles


def verify_checkpoint(path: Path) -> None:
    """Raises BundleError naming what is missing, changed, or a stranger among the tensors, all of which are read."""
    tensors = [] if is_sharded(path) else [WEIGHTS, OPTIMIZER]
    listed = verify_manifest(path, needed=[STATE, *tensors])
    for file in sorted(path.glob("*.safetensors")):
        if file.name not in listed:
            raise BundleError(f"{file} is not in the manifest of its checkpoint: it was put there later. Take it away.")


def set_aside(path: Path) -> None:
    """Keep a damaged checkpoint under a name that no resume looks at; where it cannot be renamed, it stays."""
    names = (path.with_name(f"{path.name}.corrupt{number or ''}") for number in itertools.count())
    with contextlib.suppress(OSError):
        path.rename(next(name for name in names if not name.exists()))


def read_state(path: Path) -> State:
    """Raises BundleError for another format than this version's, with both numbers."""
    try:
        text = (path / STATE).read_text(encoding="utf-8")
        return State.model_validate_json(text)
    except ValidationError as error:
        first = error.errors()[0]
        if first["loc"] == ("format_version",):
            raise BundleError(f"{path} has format {first['input']}; this version of vitrail reads format "
                              f"{State.model_fields['format_version'].default}. Go on with the version that wrote it, "
                              "or start a new run.") from None
        where = ".".join(map(str, first["loc"])) or "the document"
        raise BundleError(f"{path / STATE} is not understood by this version: {where}: {first['msg']}.") from None
    except (OSError, ValueError) as error:
        raise BundleError(f"{path / STATE} cannot be read: {error}.") from error


@torch.no_grad()
def load_checkpoint(path: Path, weights: Weights, optimizer: torch.optim.Optimizer, average: Average | None = None,
                    memory: Tensors | None = None) -> None:
    """Put weights, moments, average and memory back; each process of a sharded run takes its part. Raises BundleError
    where names or shapes do not fit the model."""
    remembered = memory or {}
    values, moments, followed, kept = read_tensors(path, weights, average is not None, bool(remembered))
    refuse_misfit(path, values, moments, None if average is None else followed,
                  {name: master.shape for name, master in weights.named_masters()})
    refuse_other_shapes(path, "its memory: ", kept, {name: value.shape for name, value in remembered.items()})
    weights.restore(values)
    if average is not None:
        average.restore(followed)
    for name, value in remembered.items():
        value.copy_(kept[name])
    restore_optimizer(optimizer, moments)


def refuse_misfit(path: Path, values: Tensors, moments: Tensors, followed: Tensors | None,
                  model: dict[str, torch.Size]) -> None:
    """Raises BundleError where not every tensor belongs to a parameter of the model and has its shape; moments may
    be missing, since a parameter has none before its first gradient."""
    owners = {key: key.partition("/")[2] for key in moments}
    shaped = {key: value for key, value in moments.items() if value.dim() or owners[key] not in model}  # else a count
    for what, there, here in (("", values, model),
                              ("its moments: ", shaped, {key: model[owners[key]] for key in shaped
                                                         if owners[key] in model}),
                              ("its moving average: ", followed or {}, {} if followed is None else model)):
        refuse_other_shapes(path, what, there, here)


def refuse_other_shapes(path: Path, what: str, there: Tensors, here: dict[str, torch.Size]) -> None:
    if words := misfit({name: value.shape for name, value in there.items()}, here):
        raise BundleError(f"{path} does not fit this model: {what}{words}.")


def read_tensors(path: Path, weights: Weights, averaged: bool, remembered: bool) -> list[Tensors]:
    """Weights, moments, the moving average (empty unless `averaged`) and the memory (unless `remembered`), by name."""
    files = [WEIGHTS, OPTIMIZER, *([AVERAGE] if averaged else []), *([MEMORY] if remembered else [])]
    if is_sharded(path):
        parts = read_shards(path, dict(weights.named_masters()))
        read = [{key.partition("/")[2]: value for key, value in parts.items() if key.startswith(f"{Path(file).stem}/")}
                for file in files]
    else:
        try:
            read = [load_file(path / file) for file in files]
        except (SafetensorError, OSError) as error:
            raise BundleError(f"{path} cannot be read: {error}.") from error
    by_file = dict(zip(files, read, strict=True))
    return [by_file.get(file, {}) for file in (WEIGHTS, OPTIMIZER, AVERAGE, MEMORY)]


def optimizer_tensors(optimizer: torch.optim.Optimizer) -> dict[str, Tensor]:
    """The optimizer's state as named tensors: "exp_avg/encoder.blocks.0...."."""
    tensors = {}
    for group in optimizer.param_groups:
        for name, parameter in zip(group["names"], group["params"], strict=True):
            for kind, value in optimizer.state.get(parameter, {}).items():
                if value is not None:
                    tensors[f"{kind}/{name}"] = torch.as_tensor(value)
    return tensors


def restore_optimizer(optimizer: torch.optim.Optimizer, tensors: dict[str, Tensor]) -> None:
    by_name: dict[str, dict[str, Tensor]] = {}
    for key, value in tensors.items():
        kind, name = key.split("/", 1)
        by_name.setdefault(name, {})[kind] = value
    for group in optimizer.param_groups:
        for name, parameter in zip(group["names"], group["params"], strict=True):
            optimizer.state[parameter] = {
                kind: like(value, parameter if value.dim() else None).to(parameter.device)
                for kind, value in by_name.get(name, {}).items()
            }


def recipe_hash(recipe: dict[str, object]) -> str:
    """What identifies the part of a recipe that a resumed run must share."""
    return hashlib.sha256(json.dumps(recipe, sort_keys=True).encode()).hexdigest()

