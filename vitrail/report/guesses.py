"""What a model guesses that learns without labels: rows of (input, guess, truth), for the page and for TensorBoard."""

from __future__ import annotations

import io
from collections.abc import Sequence

import numpy as np
from PIL import Image

from vitrail.inspection.drawing import LEAD, sheet
from vitrail.report.pictures import Picture, encode, fitted
from vitrail.vocabulary import Shown

SIDE = 144
"""Longest side of each picture; small ones are enlarged pixel by pixel up to it."""


def guess_sheet(shown: Sequence[Shown]) -> Picture:
    """Three pictures a row."""
    return encode(drawn(shown), "PNG")


def pasted(shown: Sequence[Shown]) -> bytes:
    """The same as a PNG."""
    buffer = io.BytesIO()
    Image.fromarray(drawn(shown)).save(buffer, "PNG")
    return buffer.getvalue()


def drawn(shown: Sequence[Shown]) -> np.ndarray:
    tiles = [enlarged(part.numpy().transpose(1, 2, 0)) for one in shown for part in one]
    return sheet(tiles, 3, 6, LEAD)


def enlarged(pixels: np.ndarray) -> np.ndarray:
    times = max(SIDE // max(pixels.shape[:2]), 1)
    return fitted(np.ascontiguousarray(pixels.repeat(times, 0).repeat(times, 1)), SIDE)
