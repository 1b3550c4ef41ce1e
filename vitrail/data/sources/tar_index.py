"""Where the members of a tar archive lie, from one pass over its headers; nothing is extracted.

    512 bytes of header, the content, padding to 512, ... , two blocks of zeros

POSIX (ustar, pax) and GNU archives. Python's tarfile is not used because it takes a header of garbage in the middle for
the end of the archive, and keeps about a kilobyte for each of perhaps a million members.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO

from vitrail.errors import DataError

BLOCK = 512
MAX_HEADER = 2**20
"""Bytes of a long name or pax header that are read; names are far below it."""

REGULAR = b"0\x007"
KINDS = {b"1": "hard link", b"2": "symbolic link", b"3": "device", b"4": "device", b"6": "pipe",
         b"S": "sparse file"}


@dataclass(frozen=True)
class Member:
    """One member: `kind` is "file", "folder", or what it is instead; the content is `size` bytes at `offset`."""

    name: str
    kind: str
    offset: int
    size: int


@dataclass
class Extended:
    """What a pax or GNU header says about the member after it."""

    name: str | None = None
    size: int | None = None
    sparse: bool = False
    keys: dict[str, str] = field(default_factory=dict)


def tar_members(path: Path) -> Iterator[Member]:
    """Every member in order. Raises DataError naming the archive where it is cut short or damaged."""
    with open(path, "rb") as file:
        total = os.fstat(file.fileno()).st_size
        position, extended = 0, Extended()
        while True:
            file.seek(position)
            header = file.read(BLOCK)
            if header == bytes(BLOCK):
                return
            if len(header) < BLOCK:
                raise damaged(path, "it ends without the end mark of a tar archive, so it was cut short")
            if not checksum_holds(header):
                raise damaged(path, f"at byte {position:,} there is no header of a member")
            try:
                kind, size = header[156:157], number(header[124:136])
                start = position + BLOCK
                if kind in b"LKxgX":
                    content = read_extension(file, start, size, total)
                    position = start + padded(size)
                    extended = extend(extended, kind, content)
                    continue
                if kind == b"S":
                    start = skip_sparse_map(file, header, start)
                if extended.size is not None:
                    size = extended.size
                if kind not in REGULAR + b"S":
                    size = 0 if kind in b"123456" else size
                name = extended.name if extended.name is not None else header_name(header)
            except (ValueError, UnicodeDecodeError) as error:
                raise damaged(path, f"at byte {position:,} there is a false header ({error})") from error
            if size < 0 or start + size > total:
                raise damaged(path, f"{name!r} should reach to byte {start + size:,}, but the archive has {total:,}: "
                                    "it was cut short")
            yield Member(name, kind_of(kind, name, extended.sparse), start, size)
            position, extended = start + padded(size), Extended()


def kind_of(kind: bytes, name: str, sparse: bool) -> str:
    if sparse:
        return "sparse file"
    if kind in REGULAR:
        return "folder" if name.endswith("/") else "file"
    return "folder" if kind == b"5" else KINDS.get(kind, f"entry of type {kind!r}")


def checksum_holds(header: bytes) -> bool:
    """The sum of all bytes, with spaces for the checksum itself."""
    try:
        return number(header[148:156]) == sum(header[:148]) + 8 * 32 + sum(header[156:])
    except ValueError:
        return False


def number(data: bytes) -> int:
    """A number as octal digits, or in base 256 where the first bit is set (GNU, for sizes of 8 GB and more)."""
    if data[0] & 0x80:
        return int.from_bytes(bytes([data[0] & 0x7F]) + data[1:], "big")
    text = data.split(b"\0", 1)[0].strip()
    return int(text, 8) if text else 0


def padded(size: int) -> int:
    return -(-size // BLOCK) * BLOCK


def header_name(header: bytes) -> str:
    name = header[:100].split(b"\0", 1)[0]
    prefix = header[345:500].split(b"\0", 1)[0] if header[257:263] == b"ustar\0" else b""
    return (prefix + b"/" + name if prefix else name).decode(errors="surrogateescape")


def read_extension(file: BinaryIO, start: int, size: int, total: int) -> bytes:
    if not 0 <= size <= MAX_HEADER or start + size > total:
        raise ValueError(f"an extension of {size:,} bytes")
    file.seek(start)
    return file.read(size)


def extend(known: Extended, kind: bytes, content: bytes) -> Extended:
    """Add what one extension header says. Global pax headers and long link names say nothing that matters here."""
    if kind == b"L":
        known.name = content.split(b"\0", 1)[0].decode(errors="surrogateescape")
    elif kind in b"xX":
        for key, value in pax_records(content):
            if key == b"path":
                known.name = value.decode(errors="surrogateescape")
            elif key == b"size":
                known.size = int(value)
            elif key.startswith(b"GNU.sparse."):
                known.sparse = True
    return known


def pax_records(content: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Records of the form b"30 path=some/name\\n", where 30 is the length of the record."""
    position = 0
    while position < len(content) and content[position]:
        space = content.index(b" ", position, position + 20)
        length = int(content[position:space])
        record = content[space + 1:position + length - 1]
        if length <= space - position or b"=" not in record:
            raise ValueError("a pax record without a key")
        key, _, value = record.partition(b"=")
        yield key, value
        position += length


def skip_sparse_map(file: BinaryIO, header: bytes, start: int) -> int:
    """Old GNU sparse files may have more blocks of map before their content."""
    more = header[482]
    while more:
        file.seek(start)
        block = file.read(BLOCK)
        if len(block) < BLOCK:
            raise ValueError("a sparse map that was cut short")
        more, start = block[504], start + BLOCK
    return start


def damaged(path: Path, why: str) -> DataError:
    return DataError(f"{path} is a damaged tar archive: {why}. Copy or pack it again.")
