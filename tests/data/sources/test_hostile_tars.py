"""The same hostile tar as an archive and as a shard: only its good pictures come out, and the disk is not touched."""

from __future__ import annotations

import io
import os
import pickle
import tarfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from vitrail.data.source import open_source
from vitrail.data.sources import archive
from vitrail.data.sources.shards import scan
from vitrail.errors import DataError

GOOD = {f"{label}/{number}.png": f"{label} {number}".encode() for label in ("cat", "dog") for number in range(4)}
LINK, HARD, CHAR, BLOCK, PIPE = tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE, tarfile.BLKTYPE, tarfile.FIFOTYPE
DEEP = "d" * 247


class Bomb:
    """A pickle that makes a file where it is loaded."""

    def __reduce__(self) -> tuple[object, tuple[str, ...]]:
        return os.mkdir, ("canary",)


def hostile() -> Iterator[tuple[str, bytes, bytes, str]]:
    """(name, kind, content, where a link leads): everything that ever harmed whoever unpacked it."""
    for name in ("../cat/up.png", "cat/../../up.png", "/cat/absolute.png", "C:/cat/drive.png", "cat\\back.png",
                 "cat//double.png", "cat/./dot.png", "cat/" + "x" * 2**16 + ".png", "d/" * 3000 + "deep.png",
                 "cat/\udcff.png"):
        yield name, tarfile.REGTYPE, b"hostile", ""
    yield "cat/link.png", LINK, b"", "/etc/passwd"
    yield "cat/hard.png", HARD, b"", "../../etc/passwd"
    yield "cat/char.png", CHAR, b"", ""
    yield "cat/block.png", BLOCK, b"", ""
    yield "cat/pipe.png", PIPE, b"", ""
    yield "cat/sparse.png", tarfile.GNUTYPE_SPARSE, b"hostile", ""
    yield "cat/unknown.png", b"Z", b"hostile", ""
    # CVE-2025-4517: links to ever deeper folders, until the path is too long to be resolved and leads out.
    steps = "abcdefghijklmnop"
    for number, step in enumerate(steps):
        yield "/".join([*steps[:number], DEEP]), tarfile.DIRTYPE, b"", ""
        yield "/".join([*steps[:number], step]), LINK, b"", DEEP
    yield "/".join([*steps, "l" * 254]), LINK, b"", "../" * len(steps)
    yield "escape", LINK, b"", "/".join([*steps, "l" * 254, "../../../etc"])
    yield "cat/pickle.pkl", tarfile.REGTYPE, pickle.dumps(Bomb()), ""
    yield "cat/pickle.pyd", tarfile.REGTYPE, pickle.dumps(Bomb()), ""


def write(path: Path, good: dict[str, bytes], style: int) -> None:
    with tarfile.open(path, "w", format=style, errors="surrogateescape") as opened:
        members = [*hostile(), *((name, tarfile.REGTYPE, content, "") for name, content in good.items())]
        for name, kind, content, link in members:
            info = tarfile.TarInfo(name)
            info.type, info.size, info.linkname = kind, len(content), link
            opened.addfile(info, io.BytesIO(content))


@pytest.mark.fault("D8", "Of a tar with names that lead out, chains of links, hard links, devices, pipes, sparse "
                   "files and pickles only ordinary pictures are used, as an archive and as a shard; nothing is "
                   "extracted.")
@pytest.mark.parametrize("style", [tarfile.GNU_FORMAT, tarfile.PAX_FORMAT], ids=["gnu", "pax"])
@pytest.mark.parametrize("kind", ["archive", "shard"])
def test_only_ordinary_pictures_come_out(
        tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str, style: int) -> None:
    monkeypatch.setenv("VITRAIL_HOME", str(tmp_path / "home"))
    inside = tmp_path / "outer" / "inner"
    inside.mkdir(parents=True)
    monkeypatch.chdir(inside)
    labels = {f"{name[:-4]}.cls": name[:3].encode() for name in GOOD} if kind == "shard" else {}
    write(inside / "hostile.tar", GOOD | labels, style)
    before = sorted((tmp_path / "outer").rglob("*"))
    source = open_source("shards:hostile.tar" if kind == "shard" else "hostile.tar", divide=False)
    split = source.splits["test"]
    found = {name.rpartition(":")[2]: (source.classes[label], bytes(split.read(row)))
             for row, (name, label) in enumerate(zip(split.names, split.labels, strict=True))}
    assert found == {name: (name[:3], content) for name, content in GOOD.items()}
    assert sorted((tmp_path / "outer").rglob("*")) == before
    assert all(len(warning) < 1000 for warning in source.warnings)
    assert not any("\udcff" in warning for warning in source.warnings)


@pytest.mark.fault("D8", "A tar with too many members, or with one that claims more bytes than there are, is an error "
                   "that says so.")
@pytest.mark.parametrize("kind", ["archive", "shard"])
def test_too_many_and_too_large_members_are_an_error(
        tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str) -> None:
    monkeypatch.setenv("VITRAIL_HOME", str(tmp_path / "home"))
    spec = f"{'shards:' if kind == 'shard' else ''}{tmp_path / 'hostile.tar'}"
    header = bytearray(tarfile.TarInfo("x").tobuf(tarfile.GNU_FORMAT))
    (tmp_path / "hostile.tar").write_bytes(bytes(header) * 1001 + bytes(1024))
    monkeypatch.setattr(archive if kind == "archive" else scan, "MAX_MEMBERS", 1000)
    with pytest.raises(DataError, match="has more than 1,000 members"):
        open_source(spec)
    large = tarfile.TarInfo("cat/large.png")
    large.size = 2**40
    (tmp_path / "hostile.tar").write_bytes(large.tobuf(tarfile.GNU_FORMAT) + bytes(4096))
    with pytest.raises(DataError, match=r"should reach to byte 1,099,511,628,288, but the archive has 4,608"):
        open_source(spec)
