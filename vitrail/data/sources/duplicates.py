"""The same picture on both sides of a split makes a score look better than it is.

Such pictures are found by their content, byte for byte, where looking costs little.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from itertools import pairwise

import numpy as np

from vitrail.data.source import SPLITS, Split
from vitrail.data.sources.contract import counted, first_names
from vitrail.errors import ImageError

MAX_BYTES, MAX_PICTURES = 64 * 2**20, 20_000
"""What may be read to look for duplicates (about a second); nothing is looked for above it."""


def duplicate_warnings(splits: dict[str, Split], sizes: np.ndarray, hashes: Sequence[str] | None = None) -> list[str]:
    """One warning for each pair of splits, train before val before test, that hold the same bytes.

    Only pictures whose size occurs on both sides are read, so pictures of different sizes cost nothing; none is, where
    `hashes` of all are known.
    """
    present = [name for name in SPLITS if name in splits]
    candidates = {name: shared_sizes(name, present, splits, sizes) for name in present}
    total = sum(int(sizes[splits[name].keys[rows]].sum()) for name, rows in candidates.items())
    if hashes is None and (total > MAX_BYTES or sum(map(len, candidates.values())) > MAX_PICTURES):
        return []
    contents = {name: {digest(splits[name], row) if hashes is None else hashes[splits[name].keys[row]]: row
                       for row in rows.tolist()} for name, rows in candidates.items()}
    warnings = []
    for first, second in [*pairwise(present), *([(present[0], present[-1])] if len(present) > 2 else [])]:
        same = sorted(row for key, row in contents[second].items() if key and key in contents[first])
        if same:
            names = [splits[second].names[row] for row in same]
            stand = "stands" if len(same) == 1 else "stand"
            warnings.append(f"{counted(len(same), 'picture')} of {second} also {stand} in {first}, byte for byte: "
                            f"{first_names(names)}; the score on {second} will look better than it is.")
    return warnings


def shared_sizes(name: str, present: list[str], splits: dict[str, Split], sizes: np.ndarray) -> np.ndarray:
    """Rows of a split whose size in bytes some other split has too."""
    others = [sizes[splits[other].keys] for other in present if other != name]
    return np.flatnonzero(np.isin(sizes[splits[name].keys], np.concatenate(others))) if others else np.array([], int)


def digest(split: Split, row: int) -> bytes:
    try:
        content = split.read(row)
    except ImageError:
        return b""
    return hashlib.sha256(content if isinstance(content, bytes) else content.tobytes()).digest()
