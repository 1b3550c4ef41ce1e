"""What a person types after `vitrail predict` -> picture files, in order.

A file is itself, a folder is every picture in it (also in its sub-folders, sorted, hidden ones left out), `*?[` are
wildcards where no file has exactly that name, and `-` reads one file or folder a line from standard input.
"""

from __future__ import annotations

import glob
import os
import stat
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple, TextIO

from vitrail.data.sources.layout import is_hidden, is_picture


class Failure(NamedTuple):
    """A picture, or what was given in place of one, that has no answer."""

    path: str
    error: str


def expand(inputs: Iterable[str], stdin: TextIO | None = None) -> Iterator[str | Failure]:
    """Paths of pictures, in the order given, and a Failure in the place of whatever leads to none.

    Lazy: a list on `stdin` may be endless. Its lines are names as they are, without wildcards.
    """
    for given in inputs:
        if given == "-" and stdin is not None:
            for line in stdin:
                name = line.rstrip("\r\n")
                if name:
                    yield from found(name)
        elif glob.has_magic(given) and not os.path.lexists(given):
            yield from matching(given)
        else:
            yield from found(given)


def matching(pattern: str) -> Iterator[str | Failure]:
    paths = sorted(glob.glob(os.path.expanduser(pattern), recursive=True))
    if not paths:
        yield Failure(pattern, "no file has a name like this")
    for path in paths:
        yield from found(path)


def found(given: str) -> Iterator[str | Failure]:
    """One name: a folder becomes its pictures; anything but a file or a folder is never opened, as it may block."""
    path = Path(os.path.expanduser(given))
    try:
        mode = path.stat().st_mode
    except (OSError, ValueError) as error:
        missing = isinstance(error, FileNotFoundError)
        broken = "a link to nothing" if path.is_symlink() else "there is no such file"
        yield Failure(given, broken if missing else str(getattr(error, "strerror", None) or error).lower())
        return
    if stat.S_ISREG(mode):
        yield str(path)
    elif stat.S_ISDIR(mode):
        yield from pictures_in(path)
    else:
        yield Failure(given, "not a file: pipes, sockets and devices are not read")


def pictures_in(folder: Path) -> Iterator[str | Failure]:
    """Every picture below a folder, sorted. Links to folders are not followed, so a circle of them cannot trap us."""
    empty = True
    refused: list[Failure] = []
    walk = os.walk(folder, onerror=lambda error: refused.append(Failure(str(error.filename), reason(error))))
    for place, folders, files in walk:
        folders[:] = sorted(name for name in folders if not is_hidden(name))
        for name in sorted(files):
            path = Path(place) / name
            if is_picture(name) and not is_hidden(name) and (path.is_file() or path.is_symlink()):
                empty = False
                yield from found(str(path)) if path.is_symlink() else [str(path)]
    yield from refused
    if empty and not refused:
        yield Failure(str(folder), "no picture in this folder")


def reason(error: OSError) -> str:
    return (error.strerror or "cannot be read").lower()
