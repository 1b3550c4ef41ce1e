"""Shards as a source: tar files of samples, as `vitrail pack` and WebDataset write them, here or in a store far away.

Nothing is extracted: pictures are read by range at known places. Without an index, shards on this machine are looked
through once; far away an index is needed, for looking through a tar takes a request for each of its members.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import Any

import numpy as np

from vitrail.data.source import Source
from vitrail.data.sources.assemble import assemble
from vitrail.data.sources.contract import Listing, Request, counted, first_names
from vitrail.data.sources.shards.find import PREFIX, Found, check_sizes, find_shards
from vitrail.data.sources.shards.reader import ShardReader
from vitrail.errors import DataError


def recognizes_shards(request: Request) -> bool:
    return request.spec.startswith(PREFIX)


def open_shards(request: Request) -> Source:
    """Open the shards of a pattern; the sizes of all are checked. Raises DataError that lists those that are missing,
    cut short or damaged, unless the request skips them."""
    found = find_shards(request.spec)
    check_sizes(found)
    warnings = []
    if found.damaged:
        words = "; ".join(f"{file} {what}" for file, what in itertools.islice(sorted(found.damaged.items()), 5))
        more = f"; and {len(found.damaged) - 5} more" if len(found.damaged) > 5 else ""
        total = len(found.damaged) + len(found.shards)
        trouble = f"{len(found.damaged)} of {counted(total, 'shard')} cannot be used: {words}{more}"
        if not request.skip_bad_shards or not found.shards:
            raise DataError(f"{request.spec}: {trouble}. Copy or pack them again, or go on without them by "
                            "--set data.skip_bad_shards=true.")
        warnings.append(f"{trouble}. Their pictures are left out.")
    listing = listing_of(found, warnings)
    if not len(listing.names) and not request.labeled:
        raise DataError(f"{request.spec} has no picture with a label, and shards need labels also where none is "
                        "learned. Learn from a folder, an archive, a manifest or an .npz file.")
    return assemble(listing, request, described(found))


def listing_of(found: Found, warnings: list[str]) -> Listing:
    """The pictures of all shards as columns."""
    shards = [shard for _, shard in found.shards]
    names = [f"{shard.file}:{name}" for shard in shards for name in shard.names]
    table = np.array([(number, *place) for number, shard in enumerate(shards)
                      for place in zip(shard.offsets, shard.sizes, strict=True)], np.int64).reshape(-1, 3)
    hashes = [text for shard in shards for text in shard.hashes or ()]
    whole = found.whole_index
    several = any(index.multilabel for index, _ in found.shards)
    splits = None if any(shard.split is None for shard in shards) else [
        str(shard.split) for shard in shards for _ in shard.names]
    left_out = [one for index in {id(index): index for index, _ in found.shards}.values() for one in index.left_out]
    return Listing(
        names, names, list(label_names(found, several)), splits, table[:, 2],
        ShardReader(found.store, tuple(shard.file for shard in shards), names, table,
                    hashes if len(hashes) == len(names) else None),
        multilabel=several, class_order=whole.classes if whole else None, numeric_order=True,
        content=" ".join(shard.sha256 or "" for shard in shards), warnings=[*warnings, *left_out_warnings(left_out)],
        hashes=hashes if len(hashes) == len(names) else None)


def label_names(found: Found, several: bool) -> Iterator[Any]:
    """The label of each picture as a name, or a tuple of names where some picture has `several`."""
    for index, shard in found.shards:
        for label in shard.labels:
            if isinstance(label, list):
                yield tuple(index.classes[place] for place in label)
            else:
                yield (index.classes[label],) if several else index.classes[label]


def left_out_warnings(left_out: list[tuple[str, str]]) -> list[str]:
    """One warning for each reason."""
    reasons: dict[str, list[str]] = {}
    for name, reason in left_out:
        reasons.setdefault(reason, []).append(name)
    return [f"{len(names):,} x {reason}, left out: {first_names(names)}." for reason, names in sorted(reasons.items())]


def described(found: Found) -> str:
    whole, count = found.whole_index, counted(len(found.shards), "shard")
    place = "far away, read by ranges" if found.store.far else "read in place"
    if whole is None:
        return f"{count} of WebDataset, {place}"
    size = f", larger pictures resized to {whole.image_size}" if whole.image_size else ""
    return f"{count} of: {whole.kind}{size}; {place}"
