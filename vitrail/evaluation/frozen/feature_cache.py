"""Features on disk, one folder for each (weights, data, split, layer, preprocessing): mapped, checked, bounded.

    FOLDER/<key>/features.npy    float32 [images, width]
                /about.json      what they are of, and which pictures could not be read
                /manifest.json   SHA-256 of both

What is damaged, or is not what was asked for, counts as absent and is computed again.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import re
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import BaseModel, ConfigDict, ValidationError

from vitrail.errors import BundleError, SaveError
from vitrail.evaluation import Unread
from vitrail.files import MANIFEST, recover_folder, staged_folder, verify_manifest, write_json

VALUES, ABOUT = "features.npy", "about.json"

MOST_BYTES = 2**33
"""Of all entries together; those that were not used for longest go first."""


class Entry(BaseModel):
    """What `about.json` holds. `missing`: rows of the split that have no features, because of `unread`."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    of: dict[str, Any]
    missing: tuple[int, ...]
    unread: tuple[Unread, ...]


def key_of(identity: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()


def recall(folder: Path, identity: Mapping[str, Any], images: int) -> tuple[np.ndarray, Entry] | None:
    """The features of `images` pictures, mapped from disk, or None where they are not there as they were written."""
    place = folder / key_of(identity)
    try:
        recover_folder(place)
        verify_manifest(place, needed=(VALUES, ABOUT))
        entry = Entry.model_validate_json((place / ABOUT).read_bytes())
        values = np.load(place / VALUES, mmap_mode="r", allow_pickle=False)
    except (BundleError, OSError, ValueError, ValidationError):
        return None
    if (entry.of != identity or values.dtype != np.float32 or values.ndim != 2
            or len(values) + len(entry.missing) != images):
        return None
    with contextlib.suppress(OSError):
        os.utime(place)
    return values, entry


def keep(folder: Path, entry: Entry, values: np.ndarray) -> bool:
    """Write an entry for the next time, and make room for it. False where that cannot be: no reason to stop."""
    place = folder / key_of(entry.of)
    try:
        with staged_folder(place) as staged:
            np.save(staged / VALUES, values, allow_pickle=False)
            write_json(staged / ABOUT, entry.model_dump(mode="json"))
    except SaveError:
        return False
    make_room(folder, spare=place)
    return True


def make_room(folder: Path, spare: Path, most: int | None = None) -> None:
    """Remove entries, those first that were used longest ago, until `most` bytes are held; `spare` stays."""
    most = MOST_BYTES if most is None else most
    entries = [place for place in folder.iterdir() if re.fullmatch("[0-9a-f]{64}", place.name)
               and (place / MANIFEST).exists() and (place / VALUES).exists()]
    sizes = {place: sum(file.stat().st_size for file in place.iterdir()) for place in entries}
    for place in sorted(entries, key=lambda place: place.stat().st_mtime):
        if sum(sizes.values()) <= most:
            return
        if place.name != spare.name:
            shutil.rmtree(place, ignore_errors=True)
            del sizes[place]
