from __future__ import annotations

import io
from dataclasses import dataclass, field

import numpy as np
import pytest
from PIL import Image

from vitrail.data import remembered
from vitrail.data.preprocess import Preprocess
from vitrail.data.remembered import remember
from vitrail.data.source import Split
from vitrail.errors import ImageError


@dataclass(frozen=True)
class Counting:
    """PNG files in memory that count how often each is read."""

    files: list[bytes]
    reads: list[int] = field(default_factory=list)

    def read(self, key: int) -> bytes:
        self.reads.append(key)
        return self.files[key]


def split_of(files: list[bytes]) -> Split:
    count = len(files)
    return Split([f"picture {n}" for n in range(count)], np.arange(count), np.zeros(count, np.int64), Counting(files))


def png(value: int, mode: str = "RGBA") -> bytes:
    file = io.BytesIO()
    Image.new(mode, (6, 4), (value, 0, 0, 128)).save(file, "PNG")
    return file.getvalue()


def test_each_picture_is_decoded_once_and_over_the_background() -> None:
    split = split_of([png(value) for value in range(5)])
    kept = remember(split, Preprocess(size=8, background=(0, 0, 0)))
    split.reader.reads.clear()
    first, again = [kept.read(3) for _ in range(2)]
    assert first is again
    assert split.reader.reads == [3]
    assert first.shape == (4, 6, 3)
    assert first[0, 0, 0] == round(3 * 128 / 255)


def test_a_bad_picture_is_named_every_time() -> None:
    kept = remember(split_of([png(1), b"junk"]), Preprocess(size=8))
    for _ in range(2):
        with pytest.raises(ImageError, match="picture 1"):
            kept.read(1)


def test_what_does_not_fit_is_left_in_its_files(monkeypatch: pytest.MonkeyPatch) -> None:
    split = split_of([png(1)] * 10)
    monkeypatch.setattr(remembered, "MOST_BYTES", 10 * 4 * 6 * 3 - 1)
    assert remember(split, Preprocess(size=8)) is split
    monkeypatch.setattr(remembered, "MOST_BYTES", 10 * 4 * 6 * 3)
    assert remember(split, Preprocess(size=8)) is not split
