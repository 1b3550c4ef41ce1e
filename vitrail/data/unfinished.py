"""A pack under way, which can be stopped at any instant and go on: its finished shards, and a line about each.

    .packing-OUT/progress.jsonl    what is packed and how; then, for each finished shard, what the index says of it
                /shards/           the tar files, of which the last may be cut short

It lies beside OUT, whose name the folder of shards takes when it is complete.
"""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Iterator
from pathlib import Path

from pydantic import BaseModel, ConfigDict, ValidationError

from vitrail.data.sources.shards.index import Shard
from vitrail.errors import DataError, SaveError, UsageError
from vitrail.files import append_line, replace_folder, sha256, sync_folder, write_manifest, write_text

PROGRESS, SHARDS = "progress.jsonl", "shards"


class Orders(BaseModel):
    """What has to be the same when a pack goes on, for the bytes to be the same."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    version: str
    source: str
    image_size: int | None
    quality: int
    shard_bytes: int


class Finished(BaseModel):
    """A shard that is on the disk. `rows`: how many pictures of its split, in the order of packing, are settled with it
    or left out; `left_out` of this split until there."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    shard: Shard
    rows: int
    left_out: list[tuple[str, str]]


class Unfinished:
    """`finished` shards by split, and `folder` to write further ones into."""

    def __init__(self, place: Path) -> None:
        self.place, self.folder = place, place / SHARDS
        self.finished: dict[str, list[Finished]] = {}

    def settled(self, split: str) -> tuple[int, list[tuple[str, str]]]:
        """Pictures of a split that need not be packed again, and those of them that were left out."""
        done = self.finished.get(split, [])
        return (done[-1].rows, list(done[-1].left_out)) if done else (0, [])

    def shards(self, split: str) -> list[Shard]:
        return [one.shard for one in self.finished.get(split, [])]

    def record(self, shard: Shard, rows: int, left_out: list[tuple[str, str]]) -> None:
        """A shard that is complete and flushed: from now on it is not packed again."""
        assert shard.split is not None
        one = Finished(shard=shard, rows=rows, left_out=left_out)
        self.finished.setdefault(shard.split, []).append(one)
        sync_folder(self.folder)
        append_line(self.place / PROGRESS, one.model_dump_json())

    def begin(self, orders: Orders) -> None:
        shutil.rmtree(self.folder, ignore_errors=True)
        (self.place / PROGRESS).unlink(missing_ok=True)
        self.folder.mkdir()
        append_line(self.place / PROGRESS, orders.model_dump_json())
        sync_folder(self.place)

    def go_on(self, orders: Orders) -> None:
        """Take over what is whole. Raises UsageError where the source or the options are not those of the beginning."""
        began, finished = read_progress(self.place)
        if differing := [f"{name.replace('_', ' ')} was {getattr(began, name)}, and is {value}" if name != "source" else
                         "the pictures, labels or splits of the source have changed"
                         for name, value in orders.model_dump().items() if getattr(began, name) != value]:
            raise UsageError(f"This pack cannot go on, for it would become another one: {'; '.join(differing)}. Bring "
                             f"that back, or remove {self.place} to begin anew.")
        whole, broken = [], set()
        for one in finished:
            path = self.folder / one.shard.file
            if one.shard.split in broken or not path.is_file() or sha256(path) != one.shard.sha256:
                broken.add(one.shard.split)  # what follows in the same split is packed again, too
                continue
            whole.append(one)
            self.finished.setdefault(str(one.shard.split), []).append(one)
        kept = {one.shard.file for one in whole}
        for path in self.folder.iterdir():
            if path.name not in kept:
                path.unlink()
        lines = [orders.model_dump_json(), *(one.model_dump_json() for one in whole)]
        write_text(self.place / PROGRESS, "".join(line + "\n" for line in lines))

    def complete(self, out: Path, checksums: dict[str, str]) -> None:
        write_manifest(self.folder, checksums)
        replace_folder(self.folder, out)
        self.remove()

    def remove(self) -> None:
        shutil.rmtree(self.place, ignore_errors=True)


def place_of(out: Path) -> Path:
    out = out.resolve()
    return out.parent / f".packing-{out.name}"


@contextlib.contextmanager
def unfinished(out: Path, orders: Orders, resume: bool) -> Iterator[Unfinished]:
    """A pack to be completed inside. Where that does not come about, its finished shards stay for a later `resume`; a
    fault of the data leaves nothing. Raises UsageError where there is something, or nothing, to go on with."""
    out = out.resolve()
    work = Unfinished(place_of(out))
    under_way = (work.place / PROGRESS).exists() and work.folder.exists()
    if resume and not under_way:
        raise UsageError(f"No pack into {out} is under way. Leave out --resume to begin one.")
    try:
        work.place.mkdir(parents=True, exist_ok=True)
        with sole_packer(work.place, out):
            if under_way and not resume:
                refuse_to_lose(work.place, out)
            work.go_on(orders) if resume else work.begin(orders)
            yield work
    except DataError:
        work.remove()
        raise
    except BaseException as error:
        kept = ""
        if not isinstance(error, UsageError):
            if work.finished:
                kept = f" Of this pack, {sum(map(len, work.finished.values()))} shards are kept: --resume goes on."
            else:
                work.remove()
        if isinstance(error, OSError):
            raise SaveError(f"Cannot save {out}: {error.strerror or error}. Free some space or choose another "
                            f"folder.{kept}") from error
        raise


def refuse_to_lose(place: Path, out: Path) -> None:
    _, finished = read_progress(place)
    if finished:
        images = sum(one.shard.samples for one in finished)
        raise UsageError(f"A pack into {out} was stopped after {images:,} images. Go on with it by --resume, or remove "
                         f"{place} to begin anew.")


def read_progress(place: Path) -> tuple[Orders, list[Finished]]:
    """A last line that a crash cut short is left out. Raises UsageError where even the first one is not whole."""
    try:
        lines = (place / PROGRESS).read_text(encoding="utf-8").splitlines()
        orders = Orders.model_validate_json(lines[0])
    except (OSError, ValueError, IndexError):
        raise UsageError(f"{place / PROGRESS} is damaged, so that pack cannot go on. Remove {place} to begin anew, "
                         "without --resume.") from None
    finished = []
    for line in lines[1:]:
        try:
            finished.append(Finished.model_validate_json(line))
        except ValidationError:
            break
    return orders, finished


@contextlib.contextmanager
def sole_packer(place: Path, out: Path) -> Iterator[None]:
    """The lock belongs to the process, so it is gone with it, also after kill -9."""
    with open(place / ".lock", "a") as lock:
        with contextlib.suppress(ImportError):  # Windows has no flock
            import fcntl

            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                raise UsageError(f"Another process is packing into {out}. Wait for it, or choose another "
                                 "folder.") from None
        yield
