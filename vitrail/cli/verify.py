"""vitrail verify PATH"""

from __future__ import annotations

from pathlib import Path


def verify(path: str, /) -> int:
    """Read everything again and compare it with the checksums that were written with it.

        vitrail verify packed

        vitrail verify shards:https://host/packed/

        vitrail verify runs/first/bundle

    Parameters
    ----------
    path
        Shards (a folder that `vitrail pack` wrote, or shards:PATTERN), a Bundle, or a checkpoint.
    """
    from vitrail.cli.console import RunView
    from vitrail.data.verify import holds_shards, verify_shards
    from vitrail.files import verify_manifest

    if holds_shards(path):
        view = RunView()
        spec = path if path.startswith("shards:") else f"shards:{path}"
        found = verify_shards(spec, lambda progress: view.passing("verifying", progress, "bytes"))
        total = sum(shard.bytes for _, shard in found.shards)
        print(f"{path}: {len(found.shards):,} shards, {total / 1e6:,.1f} MB, all as they were written")
    else:
        verify_manifest(Path(path))
        print(f"{path}: all files as they were written")
    return 0
