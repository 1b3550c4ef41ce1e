"""WebDataset shards that have no index: one pass over their headers makes one, and it is kept.

    000017.jpg  000017.cls      a sample: members that share all before the first dot of their name
    000018.png  000018.json     the label: .cls with a whole number or a word, or .json with `label` or `labels`

Kept in the user's cache (`$VITRAIL_HOME/shards`), one file for each shard, until the shard's size or date changes.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO

from vitrail.data.sources.archive import MAX_MEMBERS, safe
from vitrail.data.sources.layout import is_picture
from vitrail.data.sources.readers import MAX_BYTES
from vitrail.data.sources.shards.index import Shard, ShardIndex, read_index, split_of_name
from vitrail.data.sources.tar_index import Member, tar_members
from vitrail.errors import DataError, SaveError
from vitrail.files import cache_folder, write_bytes

MAX_LABEL = 64 * 2**10
"""Bytes of a .cls or .json that are read."""


@dataclass
class Sample:
    """What was found under one key. `labels` is None until a label comes."""

    picture: Member | None = None
    labels: list[str] | None = None
    several: bool = False


@dataclass
class Scanned:
    """The samples of one shard that can be used, and why others cannot: reason -> keys."""

    samples: dict[str, Sample] = field(default_factory=dict)
    unusable: dict[str, list[str]] = field(default_factory=dict)

    def refuse(self, reason: str, key: str) -> None:
        self.unusable.setdefault(reason, []).append(key[:100].encode(errors="replace").decode())


def scanned_index(path: Path) -> ShardIndex:
    """The index of one shard, from the cache or from its headers. Raises DataError where the tar is damaged."""
    status = path.stat()
    mark = f"vitrail shard scan 1\n{path.resolve()}\n{status.st_size}\n{status.st_mtime_ns}"
    kept = cache_folder() / "shards" / f"{hashlib.sha256(mark.encode()).hexdigest()}.json"
    with contextlib.suppress(OSError, DataError):
        return read_index(kept.read_bytes(), str(kept))
    index = index_of(path, scan(path), status.st_size)
    with contextlib.suppress(SaveError):  # what cannot be kept is looked at again next time
        write_bytes(kept, index.encode())
    return index


def index_of(path: Path, scanned: Scanned, size: int) -> ShardIndex:
    found = [(key, sample, sample.picture) for key, sample in scanned.samples.items() if sample.picture is not None]
    classes = sorted({label for _, sample, _ in found for label in sample.labels or ()})
    number = {label: place for place, label in enumerate(classes)}
    several = any(sample.several for _, sample, _ in found)
    rows = [[number[label] for label in sample.labels or ()] for _, sample, _ in found]
    shard = Shard(
        file=path.name, split=split_of_name(path.name), bytes=size, samples=len(found),
        names=[picture.name for _, _, picture in found], offsets=[picture.offset for _, _, picture in found],
        sizes=[picture.size for _, _, picture in found], labels=rows if several else [row[0] for row in rows])
    left_out = [(key, reason) for reason, keys in sorted(scanned.unusable.items()) for key in keys]
    return ShardIndex(kind="WebDataset", classes=tuple(classes), multilabel=several, left_out=left_out, shards=[shard])


def scan(path: Path) -> Scanned:
    """Pictures and labels by key. Samples that lack one of the two are left out with the reason."""
    scanned = Scanned()
    with open(path, "rb") as file:
        for key, ending, member in keyed(path, scanned):
            sample = scanned.samples.setdefault(key, Sample())
            if ending in ("cls", "json"):
                read_label(file, member, ending, key, sample, scanned)
            elif sample.picture is not None:
                scanned.refuse("second picture under the same key", member.name)
            else:
                sample.picture = member
    for key, sample in list(scanned.samples.items()):
        if sample.picture is None or sample.labels is None or not (sample.several or sample.labels):
            lacking = "label without a picture" if sample.picture is None else "picture without a label"
            if sample.picture is not None or sample.labels is not None:
                scanned.refuse(lacking, key)
            del scanned.samples[key]
    return scanned


def keyed(path: Path, scanned: Scanned) -> Iterator[tuple[str, str, Member]]:
    """(key, ending, member) of what may belong to a sample; everything else is passed over or refused."""
    for count, member in enumerate(tar_members(path)):
        if count >= MAX_MEMBERS:
            raise DataError(f"{path} has more than {MAX_MEMBERS:,} members. Split it into several shards.")
        name = member.name.removeprefix("./")
        folder, slash, base = name.rpartition("/")
        stem, _, endings = base.partition(".")
        ending = endings.rpartition(".")[2].lower()
        wanted = ending in ("cls", "json") or is_picture(base)
        if member.kind == "folder" or not wanted or not stem:
            continue
        if member.kind != "file":
            scanned.refuse(member.kind, name)
        elif not safe(name):
            scanned.refuse("name that is absolute, leads upward, is too long or not text", name)
        elif member.size == 0:
            scanned.refuse("member of zero bytes", name)
        elif member.size > (MAX_LABEL if ending in ("cls", "json") else MAX_BYTES):
            scanned.refuse(f"{ending} of {member.size:,} bytes", name)
        else:
            yield f"{folder}{slash}{stem}", ending, member


def read_label(file: BinaryIO, member: Member, ending: str, key: str, sample: Sample, scanned: Scanned) -> None:
    """Take the label of a sample from a member. A .cls goes before a .json, which may hold anything."""
    file.seek(member.offset)
    content = file.read(member.size)
    try:
        text = content.decode("utf-8").strip()
        labels, several = ([text] if text else [], False) if ending == "cls" else json_labels(json.loads(text))
    except (UnicodeDecodeError, ValueError, RecursionError) as error:
        scanned.refuse("label that cannot be read", f"{key}.{ending} ({str(error)[:60]})")
        return
    if any(len(label) > 1000 or not label.isprintable() for label in labels):
        scanned.refuse("label that is no word or number", key)
    elif labels is not None and (sample.labels is None or ending == "cls"):
        sample.labels, sample.several = labels, several


def json_labels(value: Any) -> tuple[list[str], bool]:
    """The labels of a .json, and whether there may be several. Raises ValueError where it has none."""
    if isinstance(value, dict):
        for name in ("labels", "label", "cls", "class"):
            if name in value:
                return json_labels(value[name])
        raise ValueError("no label or labels in it")
    several = isinstance(value, list)
    parts = value if several else [value]
    if any(isinstance(part, bool) or not isinstance(part, int | str) for part in parts):
        raise ValueError("labels are whole numbers or words")
    return list(dict.fromkeys(str(part) for part in parts)), several
