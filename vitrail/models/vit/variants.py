"""The sizes that the literature gave names: `B/16` is size B with patches of 16 by 16 pixels.

Ti, S: DeiT and AugReg (2106.10270). B, L, H: the paper's Table 1. g, G: 2106.04560. mu, M, So400m, e: big_vision.
"""

from __future__ import annotations

import re
from typing import Any, NamedTuple


class Shape(NamedTuple):
    width: int
    depth: int
    mlp: int
    heads: int


SIZES: dict[str, Shape] = {
    "mu": Shape(32, 1, 128, 2),
    "Ti": Shape(192, 12, 768, 3),
    "S": Shape(384, 12, 1536, 6),
    "M": Shape(512, 12, 2048, 8),
    "B": Shape(768, 12, 3072, 12),
    "L": Shape(1024, 24, 4096, 16),
    "So400m": Shape(1152, 27, 4304, 16),
    "H": Shape(1280, 32, 5120, 16),
    "g": Shape(1408, 40, 6144, 16),
    "G": Shape(1664, 48, 8192, 16),
    "e": Shape(1792, 56, 15360, 16),
}

USUAL_PATCHES = {"H": (14,), "g": (14,), "G": (14,), "e": (14,), "So400m": (14, 16), "B": (8, 16, 32)}
KNOWN_NAMES = [f"{size}/{patch}" for size in SIZES for patch in USUAL_PATCHES.get(size, (4, 8, 16, 32))]

NAME = re.compile(r"(?P<size>[A-Za-z0-9]+)/(?P<rows>[1-9][0-9]*)(?:x(?P<columns>[1-9][0-9]*))?")


def recognize(name: str) -> dict[str, Any] | None:
    """The fields that `SIZE/PATCH` (`B/16`, `L/16x32`) stands for, or None for the name of another family."""
    match = NAME.fullmatch(name)
    if match is None or match["size"] not in SIZES:
        return None
    rows, columns = int(match["rows"]), int(match["columns"] or match["rows"])
    return SIZES[match["size"]]._asdict() | {"patch": (rows, columns)}


def with_patch(name: str, patch: tuple[int, int]) -> str:
    """The same size with another patch: `B/16`, or `B/16 (128x4)`, becomes `B/32`. Other names stay."""
    match = NAME.match(name)
    if match is None or match["size"] not in SIZES:
        return name
    rows, columns = patch
    return f"{match['size']}/{rows}{'' if rows == columns else f'x{columns}'}{name[match.end():]}"
