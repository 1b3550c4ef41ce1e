"""Everything that a run needs to go on as if it had never stopped, in one folder that is complete or absent.

    RUN/checkpoints/step-00001200/weights.safetensors     fp32 masters by name
                                 /optimizer.safetensors   moments, as "exp_avg/NAME"
                                 /average.safetensors     the moving average by name, where there is one
                                 /state.json              step, samples, seconds, recipe hash, backend, best so far
                                 /manifest.json           SHA-256 of each, written last

Random numbers and the order of samples are functions of (seed, step, position): they need no state here.
"""

from __future__ import annotations

import contextlib
import hashlib
import itertools
import json
import shutil
from pathlib import Path
from typing import Literal

import torch
from pydantic import BaseModel, ConfigDict, ValidationError
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from vitrail.errors import BundleError
from vitrail.files import recover_folder, staged_folder, verify_manifest, write_json
from vitrail.training.average import Average
from vitrail.training.precision import Backend, Weights

WEIGHTS, OPTIMIZER, STATE = "weights.safetensors", "optimizer.safetensors", "state.json"
AVERAGE = "average.safetensors"


class State(BaseModel):
    """The small part of a checkpoint. `seconds`: spent in steps so far; `recipe`: hash of what must not change;
    `data`: fingerprint of the source ("" where a checkpoint is older than this field), and its `classes`."""

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


def save_checkpoint(folder: Path, weights: Weights, optimizer: torch.optim.Optimizer, state: State,
                    average: Average | None = None) -> Path:
    """Write `folder/step-N`. Raises SaveError; whatever was complete before still is."""
    target = folder / f"step-{state.step:08d}"
    with staged_folder(target) as staged:
        save_file({name: master.detach().cpu().contiguous() for name, master in weights.named_masters()},
                  staged / WEIGHTS, {"format": "pt"})
        save_file(optimizer_tensors(optimizer), staged / OPTIMIZER, {"format": "pt"})
        if average is not None:
            followed = {name: value.cpu() for name, value in average.named().items()}
            save_file(followed, staged / AVERAGE, {"format": "pt"})
        write_json(staged / STATE, state.model_dump(mode="json"))
    return target


def prune_checkpoints(folder: Path, keep: int = 2) -> None:
    """Delete all but the newest `keep` steps. Called once a newer one is complete; failing to delete is no harm."""
    for old in step_folders(folder)[keep:]:
        shutil.rmtree(old, ignore_errors=True)


def step_folders(folder: Path) -> list[Path]:
    """Checkpoints by step, newest first."""
    found = [path for path in folder.glob("step-*") if path.is_dir() and path.name[5:].isdigit()]
    return sorted(found, key=lambda path: int(path.name[5:]), reverse=True)


def newest_checkpoint(folder: Path) -> tuple[Path | None, list[str]]:
    """The newest checkpoint whose checksums hold, and what was wrong with newer ones (they become `.corrupt`)."""
    troubles: list[str] = []
    for aside in folder.glob(".old-step-*"):
        recover_folder(aside.with_name(aside.name.removeprefix(".old-")))
    for path in step_folders(folder):
        try:
            verify_manifest(path)
            return path, troubles
        except BundleError as error:
            troubles.append(f"{error} Falling back to the checkpoint before it.")
            set_aside(path)
    return None, troubles


def set_aside(path: Path) -> None:
    """Keep a damaged checkpoint under a name that no resume looks at; where it cannot be renamed, it stays."""
    names = (path.with_name(f"{path.name}.corrupt{number or ''}") for number in itertools.count())
    with contextlib.suppress(OSError):
        path.rename(next(name for name in names if not name.exists()))


def read_state(path: Path) -> State:
    try:
        return State.model_validate_json((path / STATE).read_text())
    except (OSError, ValidationError) as error:
        raise BundleError(f"{path / STATE} is not a checkpoint this version understands: {error}.") from error


def load_checkpoint(path: Path, weights: Weights, optimizer: torch.optim.Optimizer,
                    average: Average | None = None) -> None:
    """Put weights, moments and average back. Raises BundleError where names or shapes do not fit the model."""
    try:
        values, moments = load_file(path / WEIGHTS), load_file(path / OPTIMIZER)
        followed = load_file(path / AVERAGE) if average is not None else {}
    except (SafetensorError, OSError) as error:
        raise BundleError(f"{path} cannot be read: {error}.") from error
    for name, master in weights.named_masters():
        if name not in values:
            raise BundleError(f"{path} does not fit this run: it has no {name}.")
        if values[name].shape != master.shape:
            raise BundleError(f"{path} does not fit this run: {name} is {tuple(values[name].shape)} there and "
                              f"{tuple(master.shape)} here.")
    weights.restore(values)
    if average is not None:
        average.restore(followed)
    restore_optimizer(optimizer, moments)


def optimizer_tensors(optimizer: torch.optim.Optimizer) -> dict[str, Tensor]:
    """The optimizer's state as named tensors: "exp_avg/encoder.blocks.0...."."""
    tensors = {}
    for group in optimizer.param_groups:
        for name, parameter in zip(group["names"], group["params"], strict=True):
            for kind, value in optimizer.state.get(parameter, {}).items():
                if value is not None:
                    tensors[f"{kind}/{name}"] = torch.as_tensor(value).detach().cpu().contiguous().clone()
    return tensors


def restore_optimizer(optimizer: torch.optim.Optimizer, tensors: dict[str, Tensor]) -> None:
    by_name: dict[str, dict[str, Tensor]] = {}
    for key, value in tensors.items():
        kind, name = key.split("/", 1)
        by_name.setdefault(name, {})[kind] = value
    for group in optimizer.param_groups:
        for name, parameter in zip(group["names"], group["params"], strict=True):
            optimizer.state[parameter] = {
                kind: value.to(parameter.device) for kind, value in by_name.get(name, {}).items()
            }


def recipe_hash(recipe: dict[str, object]) -> str:
    """What identifies the part of a recipe that a resumed run must share."""
    return hashlib.sha256(json.dumps(recipe, sort_keys=True).encode()).hexdigest()

