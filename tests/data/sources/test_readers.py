"""Readers name the picture that they cannot read; duplicates are found by content."""

from __future__ import annotations

import numpy as np
import pytest

from vitrail.data.source import Split
from vitrail.data.sources.duplicates import duplicate_warnings
from vitrail.data.sources.readers import ArrayReader, FileReader
from vitrail.errors import ImageError


def test_a_file_that_became_empty_is_an_image_error(tmp_path):
    (tmp_path / "a.png").touch()
    with pytest.raises(ImageError, match="has 0 bytes") as caught:
        FileReader([str(tmp_path / "a.png")]).read(0)
    assert caught.value.path.endswith("a.png")


@pytest.mark.parametrize("path", ["/nowhere/a.png", "a\0b.png"])
def test_a_path_that_leads_nowhere_is_an_image_error(path):
    with pytest.raises(ImageError):
        FileReader([path]).read(0)


def test_duplicates_across_all_pairs_of_splits():
    images = np.arange(8, dtype=np.uint8)[:, None, None] * np.ones((8, 2, 2), np.uint8)
    images[5], images[7] = images[0], images[4]
    reader = ArrayReader(images)
    names = [f"p{row}" for row in range(8)]
    splits = {split: Split(names[rows[0]:rows[1]], np.arange(*rows), np.zeros(rows[1] - rows[0], np.int64), reader)
              for split, rows in (("train", (0, 4)), ("val", (4, 6)), ("test", (6, 8)))}
    warnings = duplicate_warnings(splits, np.full(8, 4))
    assert len(warnings) == 2
    assert "1 picture of val also stands in train, byte for byte: 'p5'" in warnings[0]
    assert "1 picture of test also stands in val, byte for byte: 'p7'" in warnings[1]
