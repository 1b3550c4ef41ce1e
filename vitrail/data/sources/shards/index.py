"""What lies where in a set of shards: `index.json`, beside the tar files that it describes.

    {"format": "vitrail shards", "format_version": 1, "kind": ..., "source_fingerprint": ..., "fingerprint": ...,
     "classes": [...], "multilabel": false, "samples": {"train": 900, ...}, "image_size": 256, "quality": 90,
     "shards": [{"file": "train-000000.tar", "split": "train", "bytes": ..., "sha256": ..., "samples": ...,
                 "names": [...], "offsets": [...], "sizes": [...], "labels": [...], "hashes": [...]}]}

The columns of a shard have one row for each picture: its name in the source, where its bytes begin, how many they are,
its class index (a list of them with several labels a picture), and the first 16 digits of their SHA-256.
"""

from __future__ import annotations

import hashlib
import re
from typing import Annotated, Literal

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from vitrail.data.sources.layout import SPLIT_NAMES
from vitrail.data.sources.readers import MAX_BYTES
from vitrail.errors import DataError

INDEX = "index.json"
HASH_DIGITS = 16
FILE_NAME = re.compile(r"[^./\\\0][^/\\\0]*\.tar")
"""A plain name: an index from a stranger cannot point out of its folder."""

Count = Annotated[int, Field(ge=0, lt=2**62)]


class Shard(BaseModel):
    """One tar file. `sha256` and `hashes` are None where an index was made by looking at headers alone."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    file: str
    split: Annotated[str, Field(pattern="^(train|val|test)$")] | None
    bytes: Count
    sha256: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")] | None = None
    samples: Count
    names: list[str]
    offsets: list[Count]
    sizes: list[Annotated[int, Field(ge=1, le=MAX_BYTES)]]
    labels: list[Count] | list[list[Count]]
    hashes: list[Annotated[str, Field(pattern=r"^[0-9a-f]{16}$")]] | None = None

    @property
    def several(self) -> bool:
        """Is each label a list? They are all of one kind."""
        return bool(self.labels) and isinstance(self.labels[0], list)

    @model_validator(mode="after")
    def columns_fit(self) -> Shard:
        if not FILE_NAME.fullmatch(self.file):
            raise ValueError(f"{self.file[:100]!r} is not the plain name of a .tar file")
        columns = [self.names, self.offsets, self.sizes, self.labels, *([self.hashes] if self.hashes else [])]
        if any(len(column) != self.samples for column in columns):
            raise ValueError(f"{self.file}: its columns have not the {self.samples:,} rows of its samples")
        ends = np.array(self.offsets, np.int64) + np.array(self.sizes, np.int64)
        if len(ends) and int(ends.max()) > self.bytes:
            raise ValueError(f"{self.file}: a picture reaches to byte {int(ends.max()):,} of {self.bytes:,}")
        return self


class ShardIndex(BaseModel):
    """A set of shards. `kind` says in words what was packed; `image_size` is the shorter side that larger pictures
    were brought to, and `quality` that of their JPEG, both None where all bytes are the source's own."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    format: Literal["vitrail shards"] = "vitrail shards"
    format_version: Literal[1] = 1
    kind: str
    source_fingerprint: str = ""
    fingerprint: str = ""
    classes: tuple[str, ...]
    multilabel: bool
    samples: dict[str, int] = {}
    image_size: int | None = None
    quality: int | None = None
    left_out: list[tuple[str, str]] = []
    shards: list[Shard]

    @model_validator(mode="after")
    def labels_are_known(self) -> ShardIndex:
        if len({shard.file for shard in self.shards}) != len(self.shards):
            raise ValueError("two shards have the same file name")
        for shard in self.shards:
            if shard.several and not self.multilabel:
                raise ValueError(f"{shard.file}: several labels a picture, but the index says one")
            highest = int(np.max(np.hstack(shard.labels), initial=-1)) if shard.labels else -1
            if highest >= len(self.classes):
                raise ValueError(f"{shard.file}: label {highest} is not among the {len(self.classes)} classes")
        return self

    def encode(self) -> bytes:
        return self.model_dump_json().encode() + b"\n"


def read_index(content: bytes, place: str) -> ShardIndex:
    """An index from the bytes of its file. Raises DataError saying what is wrong with it."""
    try:
        return ShardIndex.model_validate_json(content)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"][:4])
        message = f"{where}: {first['msg']}".removeprefix(": ").replace("Value error, ", "")
        raise DataError(f"{place} is not an index of shards that can be used ({message}). "
                        "Take the one that `vitrail pack` wrote, or pack again.") from None


def fingerprint_of(shards: list[Shard]) -> str:
    """SHA-256 over the content and labels of all shards, in their order."""
    digest = hashlib.sha256(b"vitrail shards 1\n")
    for shard in shards:
        digest.update(f"{shard.file}\0{shard.split}\0{shard.bytes}\0{shard.sha256}\0{shard.labels}\n".encode())
    return digest.hexdigest()


def content_hash(content: bytes) -> str:
    """What `hashes` holds of one picture."""
    return hashlib.sha256(content).hexdigest()[:HASH_DIGITS]


def split_of_name(file: str) -> str | None:
    """"train-000003.tar" -> "train"; None where the name does not begin with a split."""
    return SPLIT_NAMES.get(re.split(r"[-_.]", file.lower(), maxsplit=1)[0])
