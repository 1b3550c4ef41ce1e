"""Where the bytes of shards come from: a folder on this machine, or a store that fsspec reaches (http, s3, ...).

    Store(place).read(file, start, size) -> bytes           waits
                .begin(file, start, size) -> Future[bytes]  far away only: many at once, none waits for another

Far reads are coroutines on the one thread that fsspec keeps for them. Each has a deadline and is tried again, with
growing pauses; after `ATTEMPTS` the error names the shard. Only ranges are asked for: a server that answers with the
whole file is refused before its answer is read.
"""

from __future__ import annotations

import asyncio
import os
import random
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from concurrent.futures import Future
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import lru_cache, partial
from pathlib import Path
from typing import Any, TypeVar

from vitrail.errors import DataError, UsageError

ATTEMPTS = 6
PAUSE = 0.25
"""Seconds before the second attempt; each further pause is twice as long."""

DEADLINE = 30.0
"""Seconds for one attempt. What is asked for at once is at most some megabytes."""

AT_ONCE = 64
"""Requests under way. A picture takes about 50 ms from an object store in the same region: 1,000 pictures a second."""

PIECE = 8 * 2**20
"""Bytes asked for at once where a whole file is wanted."""

MOST_WHOLE = 4 * 2**30

INSTALL = "Install what reads them: pip install 'vitrail[shards]'"

Answer = TypeVar("Answer")


class Hopeless(Exception):  # noqa: N818 - it says that another attempt would end the same way
    """What another attempt cannot mend, in words."""


def is_remote(place: str) -> bool:
    return "://" in place


@dataclass(frozen=True)
class Store:
    """`place`: a folder, or a URL that ends in "/". It can be pickled; connections are made where they are used."""

    place: str

    @property
    def far(self) -> bool:
        return is_remote(self.place)

    def address(self, file: str) -> str:
        return self.place + file if self.far else str(Path(self.place, file))

    def sizes(self, files: list[str]) -> dict[str, int]:
        """Bytes of each file, -1 for those that are missing. Raises DataError where a far store does not say."""
        if self.far:
            far = connect(self.place)
            pending = {file: far.start(far.persist(partial(far.size, file), self.address(file))) for file in files}
            return {file: future.result() for file, future in pending.items()}
        return {file: os.path.getsize(path) if os.path.isfile(path := self.address(file)) else -1 for file in files}

    def read(self, file: str, start: int, size: int) -> bytes:
        """`size` bytes from `start` on; fewer where a file here ends before. Raises OSError, or DataError far away."""
        if self.far:
            return self.begin(file, start, size).result()
        with open(self.address(file), "rb") as opened:
            opened.seek(start)
            return opened.read(size)

    def begin(self, file: str, start: int, size: int) -> Future[bytes]:
        far = connect(self.place)
        return far.start(far.persist(partial(far.range, file, start, size), self.address(file)))

    def whole(self, file: str) -> bytes | None:
        """All of a file, or None where there is none. Raises DataError where it is larger than any index."""
        size = self.sizes([file])[file]
        if size > MOST_WHOLE:
            raise DataError(f"{self.address(file)} has {size:,} bytes; an index has at most {MOST_WHOLE:,}. Pack into "
                            "several folders.")
        if size < 0 or not self.far:
            return Path(self.address(file)).read_bytes() if size >= 0 else None
        pieces = [self.begin(file, start, min(PIECE, size - start)) for start in range(0, size, PIECE)]
        return b"".join(piece.result() for piece in pieces)


@dataclass(frozen=True)
class Far:
    """A filesystem of fsspec and the thread that its coroutines run on. `root`: the store's place as it calls it."""

    files: Any
    root: str
    loop: asyncio.AbstractEventLoop
    gate: asyncio.Semaphore

    @property
    def web(self) -> bool:
        """By HTTP, fsspec reads a whole answer whatever it is, and calls a server that fails a missing file."""
        return self.root.startswith(("http://", "https://"))

    def start(self, work: Coroutine[Any, Any, Answer]) -> Future[Answer]:
        return asyncio.run_coroutine_threadsafe(work, self.loop)

    async def persist(self, attempt: Callable[[], Awaitable[Answer]], address: str) -> Answer:
        """The answer of the first attempt that has one. Raises DataError that names `address`."""
        trouble = ""
        for number in range(ATTEMPTS):
            if number:
                await asyncio.sleep(PAUSE * 2 ** (number - 1) * random.uniform(1, 1.5))
            try:
                async with self.gate:
                    return await asyncio.wait_for(attempt(), DEADLINE)
            except Hopeless as error:
                raise DataError(f"{address} cannot be read: {error}") from None
            except PermissionError as error:
                raise DataError(f"{address} cannot be read: {error or 'access is denied'}. Look at the credentials and "
                                "at who may read it.") from None
            except TimeoutError:
                trouble = f"no answer within {DEADLINE:g} s"
            except Exception as error:  # each kind of store has its own; whatever it is, the next attempt may succeed
                trouble = " ".join(str(error).split())[:200] or type(error).__name__
        raise DataError(f"{address} cannot be read, after {ATTEMPTS} attempts: {trouble}. Look whether the store "
                        "answers; a run goes on from its last checkpoint with --resume.")

    async def size(self, file: str) -> int:
        path = self.root + file
        try:
            if self.web:
                return await http_size(await self.files.set_session(), self.files.encode_url(path))
            if self.files.async_impl:
                return int((await self.files._info(path))["size"])
            return int((await asyncio.to_thread(self.files.info, path))["size"])
        except FileNotFoundError:
            return -1

    async def range(self, file: str, start: int, size: int) -> bytes:
        try:
            content = await self.some_bytes(self.root + file, start, start + size)
        except FileNotFoundError:
            raise Hopeless("it is missing. Upload it again.") from None
        if len(content) != size:
            raise OSError(f"{len(content):,} bytes came where {size:,} were asked for at byte {start:,}")
        return content

    async def some_bytes(self, path: str, start: int, end: int) -> bytes:
        if self.web:
            return await http_range(await self.files.set_session(), self.files.encode_url(path), start, end)
        if self.files.async_impl:
            return await self.files._cat_file(path, start=start, end=end)
        return await asyncio.to_thread(self.files.cat_file, path, start=start, end=end)


@asynccontextmanager
async def http_answer(session: Any, url: str, start: int, end: int) -> AsyncIterator[Any]:
    """The answer to a request for a range. Raises Hopeless, before its body is read, where it is the whole file."""
    headers = {"Range": f"bytes={start}-{end - 1}", "Accept-Encoding": "identity"}
    async with session.get(url, headers=headers) as answer:
        if answer.status == 404:
            raise FileNotFoundError(url)
        if answer.status in (401, 403):
            raise PermissionError(f"the server answers {answer.status}")
        if answer.status == 200:
            raise Hopeless("the server ignores ranges and would send the whole shard for every picture. Serve the "
                           "shards from one that knows ranges (nginx, any object store), or copy them to this machine.")
        if answer.status != 416:
            answer.raise_for_status()
        yield answer


async def http_range(session: Any, url: str, start: int, end: int) -> bytes:
    async with http_answer(session, url, start, end) as answer:
        return b"" if answer.status == 416 else await answer.read()


async def http_size(session: Any, url: str) -> int:
    """The size of a file by a request for its first byte, which also shows whether the server knows ranges."""
    async with http_answer(session, url, 0, 1) as answer:
        total = answer.headers.get("Content-Range", "").rpartition("/")[2]
        if not total.isdigit():
            raise Hopeless("the server does not say how large it is. Serve it as a plain file.")
        return int(total)


@lru_cache(maxsize=32)
def connect(place: str) -> Far:
    """The filesystem of a URL. Raises UsageError where the library for it is missing."""
    try:
        from fsspec.asyn import get_loop
        from fsspec.core import url_to_fs
    except ImportError:
        raise UsageError(f"{place}: shards on another machine are read through fsspec. {INSTALL}") from None
    options: dict[str, Any] = {"use_listings_cache": False}
    if place.startswith("s3:"):
        options["config_kwargs"] = {"max_pool_connections": AT_ONCE}
    try:
        files, root = url_to_fs(place, **options)
    except (ImportError, ValueError) as error:
        raise UsageError(f"{place} cannot be opened: {error}. {INSTALL}, and the library that fsspec needs for this "
                         "kind of store.") from None
    return Far(files, root.rstrip("/") + "/", get_loop(), asyncio.Semaphore(AT_ONCE))
