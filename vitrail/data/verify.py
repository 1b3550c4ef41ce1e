"""Shards read again from end to end and compared with their checksums: `vitrail verify`."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable
from pathlib import Path

from vitrail.data.sources.shards.find import PREFIX, Found, check_sizes, find_shards, looks_ours
from vitrail.data.sources.shards.index import INDEX, Shard
from vitrail.data.sources.shards.store import PIECE, Store
from vitrail.errors import DataError
from vitrail.vocabulary import Progress


def holds_shards(path: str) -> bool:
    """Is this a folder that `vitrail pack` wrote, or PREFIX with a pattern?"""
    if path.startswith(PREFIX):
        return True
    index = Path(path, INDEX)
    if not index.is_file():
        return False
    with open(index, "rb") as file:
        return looks_ours(file.read(200))


def verify_shards(spec: str, watch: Callable[[Progress], None]) -> Found:
    """Read all shards of `spec`; `watch` is told of bytes. Raises DataError that lists every shard that is not as it
    was written, and where there are no checksums to compare with."""
    found = find_shards(spec)
    check_sizes(found)
    if any(shard.sha256 is None for _, shard in found.shards):
        raise DataError(f"{spec} has no checksums to compare with: its index was made by looking through the shards. "
                        "`vitrail pack` writes them.")
    total, done, began = sum(shard.bytes for _, shard in found.shards), 0, time.monotonic()

    def tell(more: int) -> None:
        nonlocal done
        done += more
        watch(Progress(done, total, done / max(time.monotonic() - began, 1e-9)))

    for _, shard in found.shards:
        try:
            if checksum(found.store, shard, tell) != shard.sha256:
                found.damaged[shard.file] = "has another checksum than when it was written"
        except (DataError, OSError) as error:
            found.damaged[shard.file] = f"cannot be read ({error})"
    if found.damaged:
        lines = "\n".join(f"  {found.store.address(file)} {what}" for file, what in sorted(found.damaged.items()))
        raise DataError(f"{len(found.damaged)} shards of {spec} are damaged:\n{lines}\nCopy them again from where "
                        "they were packed, or pack them again.")
    return found


def checksum(store: Store, shard: Shard, tell: Callable[[int], None]) -> str:
    digest = hashlib.sha256()
    for start in range(0, shard.bytes, PIECE):
        digest.update(store.read(shard.file, start, min(PIECE, shard.bytes - start)))
        tell(min(PIECE, shard.bytes - start))
    return digest.hexdigest()
