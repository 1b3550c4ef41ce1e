"""Trees of pictures for the tests of sources. Sources never decode, so any bytes will do for a picture."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

Plant = Callable[..., Path]


def content(name: str, size: int | None = None) -> bytes:
    """Bytes that only this picture has."""
    return (f"picture {name} ".encode() * 100)[:size or 20 + len(name)]


@pytest.fixture
def plant(tmp_path: Path) -> Plant:
    """`plant("train/cat/1.png", ...)` writes these files, `plant(cat=3, dog=2)` so many pictures of each class."""

    def write(*names: str, **classes: int) -> Path:
        root = tmp_path / "photos"
        root.mkdir(exist_ok=True)
        for name in (*names, *(f"{label}/{row}.png" for label, count in classes.items() for row in range(count))):
            (root / name).parent.mkdir(parents=True, exist_ok=True)
            (root / name).write_bytes(content(name))
        return root

    return write
