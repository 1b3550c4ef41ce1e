"""Folders of pictures: one sub-folder a class, perhaps inside train/, val/ and test/. Nothing is copied or opened.

Class names are the folder names in the order of strings, as torchvision's ImageFolder has them ("10" before "2").
"""

from __future__ import annotations

import os
import stat
from collections import Counter
from dataclasses import dataclass, field

import numpy as np

from vitrail.data.source import SPLITS, Source
from vitrail.data.sources.assemble import assemble
from vitrail.data.sources.contract import Listing, Request, counted, first_names
from vitrail.data.sources.layout import EXTENSIONS, Layout, is_hidden, is_picture, recognize_layout
from vitrail.data.sources.readers import MAX_BYTES, FileReader
from vitrail.errors import DataError


@dataclass
class Scan:
    """What lies in a folder: pictures with their sizes, folders, what was ignored, and what can never be read.

    `measuring`: for an evaluation, files that cannot be read stay in the list, so that they count as wrong.
    """

    measuring: bool = False
    names: list[str] = field(default_factory=list)
    sizes: list[int] = field(default_factory=list)
    folders: list[str] = field(default_factory=list)
    ignored: Counter[str] = field(default_factory=Counter)
    unusable: dict[str, list[str]] = field(default_factory=dict)

    def refuse(self, reason: str, name: str) -> None:
        self.unusable.setdefault(reason, []).append(name)


MODEL_FILES = {"model.safetensors", "bundle", "checkpoints"}
"""One of them in a folder without pictures tells that somebody took a model for images."""


def recognizes(request: Request) -> bool:
    return request.path.is_dir()


def open_folder(request: Request) -> Source:
    """Open a folder of pictures. Raises DataError where no classes can be seen in it, and labels are needed."""
    root = os.path.expanduser(request.spec)
    scan = scan_folder(root, measuring=not request.divide)
    if not scan.names:
        found = "; ".join([*ignored_notes(scan.ignored), *unusable_warnings(scan.unusable)]) or "it is empty"
        if MODEL_FILES & set(os.listdir(root)):
            raise DataError(f"{request.spec} holds a trained model, and images are needed here. Give the images in its "
                            f"place, and a model to go on from as --weights {request.spec}.")
        raise DataError(f"{request.spec} holds no picture: {found}. Pictures end in {', '.join(sorted(EXTENSIONS))}.")
    layout = recognize_layout(scan.names, scan.folders, request.spec, request.labeled)
    identities = [scan.names[row] for row in layout.rows]
    names = [os.path.join(root, name) for name in identities]
    listing = Listing(names, identities, layout.labels, layout.splits, np.array(scan.sizes, np.int64)[layout.rows],
                      FileReader(names), declared=layout.declared, notes=ignored_notes(scan.ignored),
                      warnings=[*unusable_warnings(scan.unusable), *layout.warnings])
    return assemble(listing, request, describe_layout("image folder", layout))


def describe_layout(what: str, layout: Layout) -> str:
    """image folder with train/ and val/"""
    if layout.splits is None:
        return f"{what} with one folder for each class" if any(layout.labels) else f"{what} without labels"
    *others, last = [f"{split}/" for split in SPLITS if split in layout.declared]
    bare = "" if any(layout.labels) else ", without labels"
    return f"{what} with {', '.join(others)} and {last}{bare}" if others else f"{what} with {last}{bare}"


def scan_folder(root: str, *, measuring: bool = False) -> Scan:
    """List a folder in a fixed order, without opening a file. Links are followed, except those that lead back up."""
    scan = Scan(measuring)
    pending: list[tuple[str, frozenset[tuple[int, int]]]] = [("", frozenset())]
    while pending:
        inside, above = pending.pop()
        try:
            with os.scandir(os.path.join(root, inside) if inside else root) as entries:
                status = os.stat(os.path.join(root, inside))
                here = above | {(status.st_dev, status.st_ino)}
                for entry in entries:
                    folder = look_at(entry, f"{inside}/{entry.name}" if inside else entry.name, scan, here)
                    if folder:
                        pending.append((folder, here))
        except OSError as error:
            if not inside:
                raise DataError(f"{root} cannot be listed: {error.strerror}.") from error
            scan.refuse(f"folder that cannot be listed ({error.strerror})", inside)
    order = sorted(range(len(scan.names)), key=scan.names.__getitem__)
    scan.names, scan.sizes = [scan.names[row] for row in order], [scan.sizes[row] for row in order]
    return scan


def look_at(entry: os.DirEntry[str], name: str, scan: Scan, above: frozenset[tuple[int, int]]) -> str:
    """Note one entry in `scan`; the name is returned where it is a folder to go into, else ""."""
    if is_hidden(entry.name):
        scan.ignored["hidden"] += 1
        return ""
    picture = is_picture(entry.name)
    try:
        name.encode()
        status = entry.stat(follow_symlinks=True)
    except UnicodeEncodeError:
        scan.refuse("name that is not UTF-8", name.encode(errors="surrogateescape").decode(errors="replace"))
        return ""
    except OSError as error:
        if picture:
            scan.refuse("dangling link" if entry.is_symlink() else f"unreadable ({error.strerror})", name)
        return ""
    if stat.S_ISDIR(status.st_mode):
        if picture:
            scan.refuse("folder named like a picture", name)
        elif (status.st_dev, status.st_ino) in above:
            scan.refuse("link to a folder above itself", name)
        else:
            scan.folders.append(name)
            return name
    elif not picture:
        scan.ignored[os.path.splitext(entry.name)[1].lower() or "no ending"] += 1
    else:
        note_picture(entry, status, name, scan)
    return ""


def note_picture(entry: os.DirEntry[str], status: os.stat_result, name: str, scan: Scan) -> None:
    if not stat.S_ISREG(status.st_mode):
        scan.refuse("pipe, socket or device", name)
    elif status.st_size == 0 and not scan.measuring:
        scan.refuse("file of zero bytes", name)
    elif status.st_size > MAX_BYTES and not scan.measuring:
        scan.refuse(f"file above {MAX_BYTES >> 20} MB", name)
    elif not scan.measuring and status.st_mode & 0o444 != 0o444 and not os.access(entry.path, os.R_OK):
        scan.refuse("file that may not be read", name)
    else:
        scan.names.append(name)
        scan.sizes.append(status.st_size)


def ignored_notes(ignored: Counter[str]) -> list[str]:
    """["3 files that are no pictures ignored (.txt 2, hidden 1)"], or nothing."""
    if not ignored:
        return []
    kinds = ", ".join(f"{ending} {count:,}" for ending, count in ignored.most_common(5))
    return [f"{counted(ignored.total(), 'entry', 'entries')} ignored, no pictures ({kinds})"]


def unusable_warnings(unusable: dict[str, list[str]]) -> list[str]:
    """One warning for each kind of thing that looks like a picture and is none."""
    return [f"{len(names):,} x {reason}, left out: {first_names(sorted(names))}."
            for reason, names in sorted(unusable.items())]
