"""Zip and tar archives of pictures, laid out like a folder. Members are read as bytes, never extracted.

Names in an archive are data: nothing on the disk is touched by them, so `../` or an absolute path harms nobody; such
members, links and devices are left out with a warning. One folder around everything is looked through.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from vitrail.data.source import Source
from vitrail.data.sources.assemble import assemble
from vitrail.data.sources.contract import Listing, Request
from vitrail.data.sources.folder import Scan, describe_layout, ignored_notes, unusable_warnings
from vitrail.data.sources.layout import EXTENSIONS, SPLIT_NAMES, is_hidden, is_picture, recognize_layout
from vitrail.data.sources.readers import MAX_BYTES
from vitrail.data.sources.tar_index import Member, tar_members
from vitrail.data.sources.zip_index import read_zip_member, zip_members
from vitrail.errors import DataError, ImageError, UsageError

MAX_MEMBERS = 20_000_000
MAX_NAME = 4096
PACKED = {b"\x1f\x8b": "gzip", b"BZh": "bzip2", b"\xfd7zXZ": "xz", b"\x28\xb5\x2f\xfd": "zstd"}
PACKED_ENDINGS = (".tar.gz", ".tgz", ".tar.bz2", ".tbz2", ".tar.xz", ".txz", ".tar.zst")


@dataclass(frozen=True)
class ArchiveReader:
    """Members of one archive by row of `table` (int64: offset, size, packed size, method, CRC). Method -1 is tar.

    The archive is opened anew for each picture: that costs some microseconds, and there is no file position to share.
    """

    path: str
    names: Sequence[str]
    table: np.ndarray

    def read(self, key: int) -> bytes:
        offset, size, packed, method, checksum = self.table[key].tolist()
        try:
            with open(self.path, "rb") as file:
                if method >= 0:
                    return read_zip_member(file, offset, packed, size, method, checksum)
                file.seek(offset)
                content = file.read(size)
        except (OSError, ValueError) as error:
            raise ImageError(self.names[key], getattr(error, "strerror", None) or str(error)) from error
        if len(content) < size:
            raise ImageError(self.names[key], "the archive was cut short")
        return content


def recognizes(request: Request) -> bool:
    return request.path.is_file() and request.spec.lower().endswith((".zip", ".tar", *PACKED_ENDINGS))


def open_archive(request: Request) -> Source:
    """Open an archive. Raises UsageError for a compressed tar, DataError for a damaged archive."""
    path = request.path
    refuse_packed(path, request.spec)
    zipped = request.spec.lower().endswith(".zip")
    scan, table = index(path, zipped, measuring=not request.divide)
    if not scan.names:
        found = "; ".join([*ignored_notes(scan.ignored), *unusable_warnings(scan.unusable)]) or "it is empty"
        raise DataError(f"{request.spec} holds no picture: {found}. Pictures end in {', '.join(sorted(EXTENSIONS))}.")
    inner, wrapper = unwrap(scan.names)
    folders = [folder.removeprefix(wrapper) for folder in scan.folders if folder.startswith(wrapper)]
    layout = recognize_layout(inner, folders, request.spec, request.labeled)
    chosen = [scan.names[row] for row in layout.rows]
    names = [f"{request.spec}:{name}" for name in chosen]
    table = table[layout.rows]
    notes = [*ignored_notes(scan.ignored), *([f"looked into {wrapper} in the archive"] if wrapper else [])]
    listing = Listing(names, chosen, layout.labels, layout.splits, table[:, 1],
                      ArchiveReader(str(path), names, table), declared=layout.declared, notes=notes,
                      warnings=[*unusable_warnings(scan.unusable), *layout.warnings])
    return assemble(listing, request, describe_layout("zip archive" if zipped else "tar archive", layout))


def refuse_packed(path: Path, spec: str) -> None:
    with open(path, "rb") as file:
        start = file.read(6)
    refuse_packed_name(path.name, spec, next((name for magic, name in PACKED.items() if start.startswith(magic)), ""))


def refuse_packed_name(name: str, spec: str, how: str = "") -> None:
    if how or name.lower().endswith(PACKED_ENDINGS):
        raise UsageError(f"{spec} is compressed as a whole{f' ({how})' if how else ''}: a picture in its middle cannot "
                         "be read without unpacking all before it. Unpack it to a .tar (pictures are compressed "
                         "already), or use a .zip or a folder.")


def index(path: Path, zipped: bool, measuring: bool) -> tuple[Scan, np.ndarray]:
    """The usable pictures of an archive in the order of names, with their table (see `ArchiveReader`)."""
    scan, rows = Scan(measuring), dict[str, tuple[int, ...]]()
    for count, (member, place) in enumerate(members(path, zipped)):
        if count >= MAX_MEMBERS:
            raise DataError(f"{path} has more than {MAX_MEMBERS:,} members. Split it into several archives.")
        name = accept(member, scan)
        if name:
            if name in rows:
                scan.refuse("earlier member of the same name", name)
            rows[name] = (member.offset, member.size, *place)
    scan.names = sorted(rows)
    return scan, np.array([rows[name] for name in scan.names], np.int64).reshape(-1, 5)


def members(path: Path, zipped: bool) -> Iterator[tuple[Member, tuple[int, int, int]]]:
    if zipped:
        yield from zip_members(path)
    else:
        yield from ((member, (member.size, -1, 0)) for member in tar_members(path))


def accept(member: Member, scan: Scan) -> str:
    """Note one member in `scan`; its plain name is returned where it is a picture that can be used, else ""."""
    name = member.name.removeprefix("./")
    parts = name.rstrip("/").split("/")
    if any(is_hidden(part) and part not in (".", "..") for part in parts):
        scan.ignored["hidden"] += 1
        return ""
    if member.kind == "folder":
        if safe(name.rstrip("/")):
            scan.folders.append(name.rstrip("/"))
        return ""
    if not is_picture(parts[-1]):
        scan.ignored[os.path.splitext(parts[-1])[1][:12].lower() or "no ending"] += 1
        return ""
    shown = name[:100].encode(errors="replace").decode()
    if member.kind != "file":
        scan.refuse(member.kind, shown)
    elif not safe(name):
        scan.refuse("name that is absolute, leads upward, is too long or not text", shown)
    elif member.size == 0 and not scan.measuring:
        scan.refuse("file of zero bytes", shown)
    elif member.size > MAX_BYTES:
        scan.refuse(f"file above {MAX_BYTES >> 20} MB", shown)
    else:
        return name
    return ""


def safe(name: str) -> bool:
    """A relative name of ordinary parts. Others are never needed, and are the marks of a hostile archive."""
    if len(name) > MAX_NAME or "\\" in name or "\0" in name or name[1:2] == ":":
        return False
    if any("\ud800" <= letter <= "\udfff" for letter in name):
        return False
    return all(part not in ("", ".", "..") for part in name.split("/"))


def unwrap(names: Sequence[str]) -> tuple[list[str], str]:
    """Names without the one folder around everything, and that folder ("photos/", or "" where there is none)."""
    top = names[0].split("/")[0]
    wrapper = f"{top}/"
    lone = all(name.startswith(wrapper) and "/" in name[len(wrapper):] for name in names)
    if not lone or top.lower() in SPLIT_NAMES:
        return list(names), ""
    return [name.removeprefix(wrapper) for name in names], wrapper
