"""vitrail verify PATH"""

from __future__ import annotations

import shlex
from collections.abc import Callable
from pathlib import Path

from vitrail.errors import BundleError

Part = tuple[Path, Callable[[Path], object]]


def verify(path: str, /) -> int:
    """Read everything again and compare it with the checksums that were written with it.

        vitrail verify packed

        vitrail verify shards:https://host/packed/

        vitrail verify runs/first

        vitrail verify runs/first/checkpoints/step-00001200

    Parameters
    ----------
    path
        Shards (a folder that `vitrail pack` wrote, or shards:PATTERN), a run with its checkpoints and its Bundle, a
        Bundle, its model.safetensors, or a checkpoint.
    """
    from vitrail.data.verify import holds_shards

    if holds_shards(path):
        return verify_packed(path)
    parts = parts_of(Path(path))
    damaged = []
    for place, check in parts:
        try:
            check(place)
            print(f"{place}: all files as they were written")
        except BundleError as error:
            damaged.append(str(error))
    if damaged:
        raise BundleError("\n".join(damaged) if len(parts) == 1 else (
            f"{len(damaged)} of the {len(parts)} checkpoints and Bundles of {path} are damaged:\n  "
            + "\n  ".join(damaged) + "\nA run goes on from its newest whole checkpoint: vitrail train --resume "
            f"--out {shlex.quote(path)}"))
    return 0


def verify_packed(path: str) -> int:
    from vitrail.cli.console import RunView
    from vitrail.data.verify import verify_shards

    view = RunView()
    spec = path if path.startswith("shards:") else f"shards:{path}"
    found = verify_shards(spec, lambda progress: view.passing("verifying", progress, "bytes"))
    total = sum(shard.bytes for _, shard in found.shards)
    print(f"{path}: {len(found.shards):,} shards, {total / 1e6:,.1f} MB, all as they were written")
    return 0


def is_run(path: Path) -> bool:
    return (path / "checkpoints").is_dir() or (path / "bundle").is_dir()


def parts_of(path: Path) -> list[Part]:
    """What is to be checked and how: all of a run, or the one thing that `path` is. Raises BundleError where there is
    nothing of ours."""
    from vitrail.bundle import Bundle, find_bundle
    from vitrail.training.checkpoint import OPTIMIZER, STATE, step_folders, verify_checkpoint
    from vitrail.training.sharded_checkpoint import is_sharded

    if is_run(path):
        bundles = [folder for folder in (path / "checkpoints" / "best", path / "bundle") if folder.is_dir()]
        parts: list[Part] = [(folder, verify_checkpoint) for folder in reversed(step_folders(path / "checkpoints"))]
        parts += [(folder, Bundle.load) for folder in bundles]
        if not parts:
            raise BundleError(f"{path} is a run without a checkpoint or a Bundle: there is nothing to verify yet.")
        return parts
    if (path / STATE).exists() or (path / OPTIMIZER).exists() or is_sharded(path):
        return [(path, verify_checkpoint)]
    return [(find_bundle(path), Bundle.load)]
