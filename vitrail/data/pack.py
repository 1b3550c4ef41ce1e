"""Source -> shards: `vitrail pack`.

    OUT/{split}-000000.tar ...  OUT/index.json (what lies where)  OUT/manifest.json (checksums of the files)

Each sample is `000000017.jpg` with `000000017.cls` (its class index) or, with several labels, `000000017.json`: what
every reader of WebDataset understands. Within a split the order is shuffled once, so that neighbors are of different
classes. The bytes of a picture stay the source's own, unless it is made smaller: then it becomes a JPEG, upright, over
white. Pixels without a file become PNG. The same source gives the same bytes. A picture that cannot be decoded stays as
it is, so that training and evaluation treat it as they would have treated the file.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import tarfile
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple, TypeVar

import numpy as np
import simplejpeg
from PIL import Image

from vitrail import __version__
from vitrail.data.decode import decode, picture_size
from vitrail.data.jpeg import is_jpeg
from vitrail.data.loader import default_workers
from vitrail.data.order import sample_order
from vitrail.data.preprocess import resize
from vitrail.data.source import Source, Split
from vitrail.data.sources.layout import is_picture
from vitrail.data.sources.readers import MAX_BYTES
from vitrail.data.sources.shards.index import INDEX, Shard, ShardIndex, content_hash, fingerprint_of
from vitrail.data.unfinished import Orders, Unfinished, unfinished
from vitrail.errors import DataError, ImageError, UsageError
from vitrail.vocabulary import Progress

SHARD_BYTES = 256 * 2**20
QUALITY = 90
MOST_MISSING = 0.001
"""Share of the pictures that may be unreadable as files before packing stops: more is a disk or network that failed."""

Watch = Callable[[Progress], None]


class Packed(NamedTuple):
    """One picture as it goes into a shard. `missing`: why there is nothing to pack, "" where there is."""

    content: bytes
    ending: str
    missing: str = ""


def pack(source: Source, out: Path, *, image_size: int | None = None, quality: int = QUALITY,
         shard_bytes: int = SHARD_BYTES, resume: bool = False,
         watch: Watch = lambda progress: None) -> ShardIndex:
    """Write all splits of a source to a new folder, which appears when it is complete.

    `image_size`: pictures whose shorter side is longer are resized to it. `resume`: go on after the last shard of a
    pack that was stopped; the bytes are those of one that never was. `watch` is called now and then. Raises UsageError
    where `out` holds something or a stopped pack is not mentioned, DataError where too much cannot be read, SaveError
    where the disk is full.
    """
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise UsageError(f"{out} is not empty. Choose another folder to pack into, or remove it first.")
    orders = Orders(version=__version__, source=source.fingerprint, image_size=image_size, quality=quality,
                    shard_bytes=shard_bytes)
    left_out: list[tuple[str, str]] = []
    with unfinished(out, orders, resume) as work:
        settled = sum(work.settled(name)[0] for name in source.splits)
        tell = teller(sum(map(len, source.splits.values())), watch, settled)
        for name in source.splits:
            pack_split(source, name, work, orders, left_out, tell)
        shards = [shard for name in source.splits for shard in work.shards(name)]
        index = ShardIndex(
            kind=source.kind, source_fingerprint=source.fingerprint, fingerprint=fingerprint_of(shards),
            classes=source.classes, multilabel=source.multilabel, left_out=left_out, shards=shards,
            samples={name: sum(shard.samples for shard in shards if shard.split == name) for name in source.splits},
            image_size=image_size, quality=quality if image_size else None)
        (work.folder / INDEX).write_bytes(index.encode())
        work.complete(out, {shard.file: shard.sha256 for shard in shards if shard.sha256})
    return index


def pack_split(source: Source, name: str, work: Unfinished, orders: Orders, left_out: list[tuple[str, str]],
               tell: Callable[[], None]) -> None:
    """Write what is missing of one split, and record each shard once it is on the disk."""
    split = source.splits[name]
    settled, missing = work.settled(name)
    before = len(left_out)
    left_out += missing
    with SplitWriter(work.folder, name, source.multilabel, orders.shard_bytes, work.shards(name)) as writer:
        for rows, (row, packed) in enumerate(prepared(split, orders.image_size, orders.quality, settled), settled):
            plain = plain_name(split.names[row], source.spec)
            if packed.missing:
                left_out.append((plain, packed.missing))
                check_missing(left_out, source)
            elif finished := writer.add(packed, plain, split.labels[row]):
                work.record(finished, rows, left_out[before:])
            tell()
        if last := writer.finish():
            work.record(last, len(split), left_out[before:])


def check_missing(left_out: list[tuple[str, str]], source: Source) -> None:
    total = sum(map(len, source.splits.values()))
    if len(left_out) > max(1, int(MOST_MISSING * total)) or len(left_out) == total:
        some = "; ".join(f"{name}: {reason}" for name, reason in left_out[:3])
        raise DataError(f"{len(left_out)} of {total:,} pictures of {source.spec} cannot be read as files ({some}). "
                        "Repair or remove them and pack again; nothing was written.")


def plain_name(name: str, spec: str) -> str:
    """A picture's name without the place of its source, which may be another one tomorrow."""
    home = os.path.expanduser(spec)
    for place in (spec.rstrip("/"), home.rstrip("/"), os.path.dirname(home)):
        if place and name.startswith((f"{place}/", f"{place}:")):
            return name[len(place) + 1:]
    return name


def teller(total: int, watch: Watch, settled: int = 0, every: float = 0.5) -> Callable[[], None]:
    """Counts from `settled` on, and tells `watch` twice a second how far the work is, and at its end."""
    began = spoken = time.monotonic()
    done = settled

    def tell() -> None:
        nonlocal done, spoken
        done += 1
        now = time.monotonic()
        if now - spoken >= every or done == total:
            spoken = now
            watch(Progress(done, total, (done - settled) / max(now - began, 1e-9)))

    return tell


def prepared(split: Split, image_size: int | None, quality: int, start: int = 0) -> Iterator[tuple[int, Packed]]:
    """The pictures of a split from the `start`-th on, made ready in threads, in the order in which they are packed."""
    order = sample_order(len(split), 0, 0).tolist()[start:]
    workers = default_workers(split)
    pool = ThreadPoolExecutor(workers, thread_name_prefix="vitrail-pack")
    try:
        ready = in_turn(pool, lambda row: prepare(split, row, image_size, quality), order, 8 * workers)
        yield from zip(order, ready, strict=True)
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


Item = TypeVar("Item")
Result = TypeVar("Result")


def in_turn(pool: ThreadPoolExecutor, work: Callable[[Item], Result], items: Iterable[Item],
            ahead: int) -> Iterator[Result]:
    """`map` in threads that never has more than `ahead` results waiting."""
    pending: deque[Future[Result]] = deque()
    for item in items:
        pending.append(pool.submit(work, item))
        if len(pending) >= ahead:
            yield pending.popleft().result()
    while pending:
        yield pending.popleft().result()


def prepare(split: Split, row: int, image_size: int | None, quality: int) -> Packed:
    """One picture: its bytes as they are, or made smaller."""
    name = split.names[row]
    try:
        encoded = split.read(row)
    except ImageError as error:
        return Packed(b"", "", error.reason)
    size = picture_size(encoded) if image_size else None
    if image_size and size is not None and min(size) > image_size:
        try:
            return Packed(smaller(encoded, name, size, image_size, quality), "jpg")
        except ImageError:
            pass  # it stays as it is
    if isinstance(encoded, np.ndarray):
        file = io.BytesIO()
        Image.fromarray(encoded).save(file, "PNG")
        return Packed(file.getvalue(), "png")
    known = name.rpartition(".")[2].lower() if is_picture(name) else "jpg" if is_jpeg(encoded) else "png"
    return Packed(encoded, known, "" if 0 < len(encoded) <= MAX_BYTES else f"it has {len(encoded):,} bytes")


def smaller(encoded: bytes | np.ndarray, name: str, size: tuple[int, int], side: int, quality: int) -> bytes:
    """A JPEG whose shorter side is `side`. A large JPEG is decoded at a fraction that still has twice as much."""
    scale = side / min(size)
    height, width = (max(side, round(whole * scale)) for whole in size)
    picture = decode(encoded, name, min_size=(min(2 * height, size[0]), min(2 * width, size[1])))
    pixels = np.ascontiguousarray(resize(picture, (height, width), "bicubic").transpose(1, 2, 0))
    return simplejpeg.encode_jpeg(pixels, quality=quality, colorspace="RGB", colorsubsampling="420")


class SplitWriter:
    """Writes the shards of one split, after those that are `done`; a new one begins where the next sample would go past
    `shard_bytes`."""

    def __init__(self, folder: Path, split: str, multilabel: bool, shard_bytes: int, done: list[Shard]) -> None:
        self.folder, self.split, self.multilabel, self.shard_bytes = folder, split, multilabel, shard_bytes
        self.number, self.shards = sum(shard.samples for shard in done), len(done)
        self.tar: TarWriter | None = None

    def __enter__(self) -> SplitWriter:
        return self

    def __exit__(self, *error: object) -> None:
        if self.tar is not None:
            self.tar.file.close()

    def add(self, packed: Packed, name: str, label: np.ndarray | np.int64) -> Shard | None:
        """Returns the shard before this sample where it is full."""
        room = self.shard_bytes - len(packed.content) - 4 * tarfile.BLOCKSIZE
        full = self.finish() if self.tar is not None and self.tar.position > room else None
        if self.tar is None:
            self.tar = TarWriter(self.folder / f"{self.split}-{self.shards:06d}.tar")
        key = f"{self.number:09d}"
        self.number += 1
        labels = np.flatnonzero(label).tolist() if self.multilabel else int(label)
        offset = self.tar.add(f"{key}.{packed.ending}", packed.content)
        if self.multilabel:
            self.tar.add(f"{key}.json", json.dumps({"labels": labels}).encode())
        else:
            self.tar.add(f"{key}.cls", str(labels).encode())
        self.tar.rows.append((name, offset, len(packed.content), labels, content_hash(packed.content)))
        return full

    def finish(self) -> Shard | None:
        """Ends the shard that is being written, if one is, and flushes it to the disk."""
        if self.tar is None:
            return None
        tar, self.tar = self.tar, None
        self.shards += 1
        checksum = tar.close()
        names, offsets, sizes, labels, hashes = map(list, zip(*tar.rows, strict=True))
        return Shard(file=tar.path.name, split=self.split, bytes=tar.position, sha256=checksum, samples=len(names),
                     names=names, offsets=offsets, sizes=sizes, labels=labels, hashes=hashes)


class TarWriter:
    """A tar file of plain members without owner or date, and the SHA-256 of all that was written."""

    def __init__(self, path: Path) -> None:
        self.path, self.position = path, 0
        self.rows: list[tuple[str, int, int, int | list[int], str]] = []
        self.digest = hashlib.sha256()
        self.file = open(path, "wb")  # noqa: SIM115 - closed by `close`, or with the process

    def write(self, data: bytes) -> None:
        self.file.write(data)
        self.digest.update(data)
        self.position += len(data)

    def add(self, name: str, content: bytes) -> int:
        """Returns where the content begins."""
        info = tarfile.TarInfo(name)
        info.size = len(content)
        self.write(info.tobuf(tarfile.USTAR_FORMAT))
        start = self.position
        self.write(content + bytes(-len(content) % tarfile.BLOCKSIZE))
        return start

    def close(self) -> str:
        self.write(bytes(2 * tarfile.BLOCKSIZE))
        self.file.flush()
        os.fsync(self.file.fileno())
        self.file.close()
        return self.digest.hexdigest()
