"""Which shards a pattern names: the index that knows them, or a look through their headers.

    shards:packed/                                   a folder with index.json, or with .tar files alone
    shards:packed/train-{000000..000009}.tar         some of them; also * and ?, and {a,b}
    shards:https://host/packed/  shards:s3://bucket/packed/index.json
"""

from __future__ import annotations

import fnmatch
import itertools
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from vitrail.data.sources.archive import PACKED_ENDINGS, refuse_packed_name
from vitrail.data.sources.contract import first_names
from vitrail.data.sources.shards.index import INDEX, Shard, ShardIndex, read_index
from vitrail.data.sources.shards.scan import scanned_index
from vitrail.data.sources.shards.store import Store, is_remote
from vitrail.errors import DataError, UsageError

PREFIX = "shards:"
MOST_SHARDS = 1_000_000
BRACES = re.compile(r"\{([^{}]*)\}")


@dataclass
class Found:
    """The shards that a pattern names: each with the index that describes it. `damaged`: file -> what is wrong."""

    store: Store
    shards: list[tuple[ShardIndex, Shard]]
    damaged: dict[str, str] = field(default_factory=dict)

    @property
    def whole_index(self) -> ShardIndex | None:
        """The index of `vitrail pack`, which knows all classes in their order."""
        indices = {id(index): index for index, _ in self.shards}
        return next(iter(indices.values())) if len(indices) == 1 and self.shards[0][1].sha256 else None


def find_shards(spec: str) -> Found:
    """What `shards:PATTERN` names, before any file but the index was looked at."""
    place, pattern = divided(spec)
    store = Store(place)
    explicit = pattern.endswith(".json")
    index_file = pattern if explicit else INDEX
    content = store.whole(index_file)
    wanted = [] if explicit or not pattern else expanded(pattern, spec)
    if content is None and explicit:
        raise DataError(f"There is no {store.address(pattern)}. Give the folder, the index or the .tar files of some "
                        "shards.")
    if content is not None and (explicit or store.far or looks_ours(content)):
        index = read_index(content, store.address(index_file))
        return Found(store, [(index, shard) for shard in chosen(index, wanted, spec)])
    if store.far:
        raise DataError(f"{store.address(INDEX)} is missing: shards in a store far away need their index. Upload the "
                        "one that `vitrail pack` wrote; for other tars, run `vitrail pack shards:FOLDER OUT` where "
                        "they lie and upload OUT.")
    return scanned(store, wanted or ["*.tar"], spec)


def divided(spec: str) -> tuple[str, str]:
    """The place of some shards (a folder, or a URL that ends in "/") and the pattern of their names, "" for all."""
    pattern = spec.removeprefix(PREFIX)
    refuse_packed_name(pattern, spec)
    if not pattern:
        raise UsageError(f"{spec} names no shards. Give a folder, an index.json, or tar files: "
                         "shards:packed/train-*.tar")
    if not is_remote(pattern):
        pattern = os.path.expanduser(pattern)
        if os.path.isdir(pattern):
            return pattern, ""
    elif not pattern.endswith((".json", ".tar", "/")):
        pattern += "/"
    folder, slash, name = pattern.rpartition("/")
    if any(sign in folder for sign in "*?{"):
        raise UsageError(f"{spec}: only the last part of a pattern may have *, ? or braces. Give each folder of its "
                         "own, or pack them into one.")
    if name and not name.endswith((".json", ".tar")):
        missing = "" if os.path.exists(pattern) else ", and there is no such folder"
        raise DataError(f"{spec}: {name!r} does not end in .tar or .json{missing}. Give a folder of shards, an "
                        "index.json, or tar files such as shards:packed/train-*.tar")
    return (folder + slash if is_remote(pattern) or folder or slash else "."), name


def expanded(pattern: str, spec: str) -> list[str]:
    """`train-{000000..000009}.tar` and `{train,val}-0.tar` as single names, which may still hold * and ?."""
    pieces = BRACES.split(pattern)
    choices = [alternatives(piece, spec) if place % 2 else [piece] for place, piece in enumerate(pieces)]
    total = np.prod([float(len(choice)) for choice in choices])
    if total > MOST_SHARDS:
        raise UsageError(f"{spec} stands for {total:,.0f} names; {MOST_SHARDS:,} are allowed.")
    return ["".join(parts) for parts in itertools.product(*choices)]


def alternatives(inside: str, spec: str) -> list[str]:
    bounds = re.fullmatch(r"(\d+)\.\.(\d+)", inside)
    if bounds is None:
        return inside.split(",")
    first, last = int(bounds[1]), int(bounds[2])
    if not first <= last < first + MOST_SHARDS:
        raise UsageError(f"{spec}: {{{inside}}} is no range of numbers. Write the smaller first: {{000000..000009}}.")
    return [str(number).zfill(len(bounds[1])) for number in range(first, last + 1)]


def looks_ours(content: bytes) -> bool:
    return b'"vitrail shards"' in content[:200]


def chosen(index: ShardIndex, wanted: list[str], spec: str) -> Iterator[Shard]:
    """Those of an index that the names ask for, in the order of the index. Raises DataError for a name without one."""
    if not wanted:
        yield from index.shards
        return
    names = [shard.file for shard in index.shards]
    taken = matching(names, wanted)
    lacking = [name for name in wanted if not matching(names, [name])]
    if lacking:
        raise DataError(f"{spec}: the index knows no shard {first_names(lacking)}. It knows "
                        f"{first_names(names, 5)}.")
    yield from (shard for shard in index.shards if shard.file in taken)


def matching(names: list[str], wanted: list[str]) -> set[str]:
    plain = {name for name in wanted if not any(sign in name for sign in "*?[")}
    found = plain.intersection(names)
    for pattern in set(wanted) - plain:
        found.update(fnmatch.filter(names, pattern))
    return found


def scanned(store: Store, wanted: list[str], spec: str) -> Found:
    """Shards on this machine without an index: their headers are looked through."""
    try:
        present = sorted(name for name in os.listdir(store.place) if name.endswith((".tar", *PACKED_ENDINGS)))
    except OSError as error:
        raise DataError(f"{spec}: {store.place} cannot be looked at: {error.strerror}.") from None
    names = sorted(matching(present, wanted) | {name for name in wanted if not any(sign in name for sign in "*?[")})
    if not names:
        hint = f" There are {first_names(present)}." if present else ""
        raise DataError(f"{spec} names no tar file in {store.place}.{hint}")
    found = Found(store, [])
    for name in names:
        path = Path(store.address(name))
        if not path.is_file():
            found.damaged[name] = "is missing"
            continue
        try:
            index = scanned_index(path)
            found.shards.append((index, index.shards[0]))
        except (DataError, OSError) as error:
            found.damaged[name] = f"is damaged ({str(error).removeprefix(f'{path} ').rstrip('.')})"
    return found


def check_sizes(found: Found) -> None:
    """Move shards whose size is not that of the index to `damaged`."""
    sizes = found.store.sizes([shard.file for _, shard in found.shards])
    for _, shard in found.shards:
        there = sizes[shard.file]
        if there < 0:
            found.damaged[shard.file] = "is missing"
        elif there != shard.bytes:
            found.damaged[shard.file] = f"has {there:,} bytes where the index says {shard.bytes:,}"
    found.shards = [pair for pair in found.shards if pair[1].file not in found.damaged]
