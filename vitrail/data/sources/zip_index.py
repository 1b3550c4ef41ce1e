"""Where the members of a zip archive lie, and how one is read; nothing is extracted.

The central directory is read once by Python's zipfile; later reads need only offset, size and method, so that any
number of threads and processes can read without a lock.
"""

from __future__ import annotations

import os
import stat
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

import numpy as np

from vitrail.data.sources.tar_index import Member
from vitrail.errors import DataError

LOCAL_HEADER = np.dtype([("magic", "<u4"), ("skipped", "V22"), ("name", "<u2"), ("extra", "<u2")])
MAX_RATIO = 1100
"""Deflate makes at most 1,032 bytes of one; a directory that promises more is false."""


def zip_members(path: Path) -> Iterator[tuple[Member, tuple[int, int, int]]]:
    """Every member, with (compressed size, method, CRC). `offset` is that of its local header.

    Raises DataError naming the archive where its directory cannot be read.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            total = path.stat().st_size
            for info in archive.infolist():
                member = Member(info.filename, kind_of(info, total), info.header_offset, info.file_size)
                yield member, (info.compress_size, info.compress_type, info.CRC)
    except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError, EOFError) as error:
        raise DataError(f"{path} is a damaged zip archive ({error}). Copy or pack it again.") from error


def kind_of(info: zipfile.ZipInfo, total: int) -> str:
    """"file", "folder", or what it is instead. The upper half of the attributes is the Unix mode, 0 from others."""
    mode = info.external_attr >> 16
    if info.is_dir():
        return "folder"
    if stat.S_ISLNK(mode):
        return "symbolic link"
    if stat.S_IFMT(mode) not in (0, stat.S_IFREG):
        return "device or pipe"
    if info.flag_bits & 1:
        return "encrypted file"
    if info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        return f"file packed by method {info.compress_type}"
    inside = info.header_offset >= 0 and info.header_offset + info.compress_size <= total
    if not inside or info.file_size > max(info.compress_size, 1) * MAX_RATIO:
        return "file with a false size"
    return "file"


def read_zip_member(file: BinaryIO, offset: int, packed: int, size: int, method: int, checksum: int) -> bytes:
    """The content of a member. Raises ValueError saying what is wrong with it; never yields more than `size` bytes."""
    file.seek(offset)
    raw = file.read(LOCAL_HEADER.itemsize)
    if len(raw) < LOCAL_HEADER.itemsize:
        raise ValueError("the archive was cut short")
    header = np.frombuffer(raw, LOCAL_HEADER)[0]
    if header["magic"] != 0x04034B50:
        raise ValueError("the archive has no member at its place")
    file.seek(int(header["name"]) + int(header["extra"]), os.SEEK_CUR)
    content = file.read(packed)
    if len(content) < packed:
        raise ValueError("the archive was cut short")
    if method == zipfile.ZIP_DEFLATED:
        unpacker = zlib.decompressobj(-zlib.MAX_WBITS)
        try:
            content = unpacker.decompress(content, size + 1)
        except zlib.error as error:
            raise ValueError(f"it cannot be unpacked ({error})") from error
    if len(content) != size:
        raise ValueError(f"it has not the {size:,} bytes that the archive promises")
    if zlib.crc32(content) != checksum:
        raise ValueError("its checksum differs from the archive's")
    return content
