"""What a model guesses that learns without labels: rows of (input, guess, truth), for the page and for TensorBoard."""

from __future__ import annotations

import io
from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageDraw

from vitrail.inspection.drawing import LEAD, sheet
from vitrail.report.pictures import Picture, encode, fitted
from vitrail.vocabulary import Shown

SIDE = 144
"""Longest side of each picture; small ones are enlarged pixel by pixel up to it."""

GAP, TITLE = 6, 22
"""Pixels between pictures, and of the line of words above them."""


def guess_sheet(shown: Sequence[Shown], columns: Sequence[str]) -> Picture:
    """Three pictures a row, under the words of `columns`."""
    return encode(drawn(shown, columns), "PNG")


def pasted(shown: Sequence[Shown], columns: Sequence[str]) -> bytes:
    """The same as a PNG."""
    buffer = io.BytesIO()
    Image.fromarray(drawn(shown, columns)).save(buffer, "PNG")
    return buffer.getvalue()


def drawn(shown: Sequence[Shown], columns: Sequence[str]) -> np.ndarray:
    tiles = [enlarged(part.numpy().transpose(1, 2, 0)) for one in shown for part in one]
    rows = sheet(tiles, len(columns), GAP, LEAD)
    head = Image.new("RGB", (rows.shape[1], TITLE), LEAD)
    pen = ImageDraw.Draw(head)
    for number, words in enumerate(columns):
        middle = (number + 0.5) * (rows.shape[1] - GAP) / len(columns) + GAP / 2
        pen.text((middle, TITLE / 2 + 2), words, fill=(235, 230, 220), font_size=13, anchor="mm")
    return np.concatenate((np.asarray(head), rows))


def enlarged(pixels: np.ndarray) -> np.ndarray:
    times = max(SIDE // max(pixels.shape[:2]), 1)
    return fitted(np.ascontiguousarray(pixels.repeat(times, 0).repeat(times, 1)), SIDE)
