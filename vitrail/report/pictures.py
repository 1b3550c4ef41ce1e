"""Numbers and images -> small pictures inside the page, as `data:` addresses. Drawn with Pillow, pixel by pixel."""

from __future__ import annotations

import base64
import io
from typing import Literal, NamedTuple

import numpy as np
from jaxtyping import Float, UInt8
from PIL import Image

from vitrail.inspection.drawing import LEAD, glass, light, sheet
from vitrail.inspection.drawing import lit as lit_pixels
from vitrail.vocabulary import Size

BARS = (98, 93, 108)
"""The color of the bars between panes of a photograph: seen against black and against white."""

THUMBNAIL = 144
"""Longest side in pixels of a photograph in the page."""

SMALL = 64
"""Images up to this side are kept as they are and enlarged by the browser, pixel by pixel."""


class Picture(NamedTuple):
    """`address` for an <img>, its size in pixels, and whether the browser should enlarge it without smoothing."""

    address: str
    width: int
    height: int
    pixelated: bool = False


def encode(pixels: UInt8[np.ndarray, "height width_px 3"], form: Literal["PNG", "JPEG"], pixelated: bool = False,
           ) -> Picture:
    image, buffer = Image.fromarray(pixels), io.BytesIO()
    image.save(buffer, form, **({"optimize": True} if form == "PNG" else {"quality": 84}))
    text = base64.b64encode(buffer.getvalue()).decode()
    return Picture(f"data:image/{form.lower()};base64,{text}", image.width, image.height, pixelated)


def thumbnail(raw: UInt8[np.ndarray, "3 height width_px"]) -> Picture:
    """An image as the model sees it."""
    pixels = np.ascontiguousarray(raw.transpose(1, 2, 0))
    if max(pixels.shape[:2]) <= SMALL:
        return encode(pixels, "PNG", pixelated=True)
    return encode(fitted(pixels, THUMBNAIL), "JPEG")


def fitted(pixels: np.ndarray, longest: int) -> np.ndarray:
    """Made smaller until the longest side is `longest`, antialiased."""
    scale = min(longest / max(pixels.shape[:2]), 1.0)
    size = max(round(pixels.shape[1] * scale), 1), max(round(pixels.shape[0] * scale), 1)
    return np.asarray(Image.fromarray(pixels).resize(size, Image.Resampling.LANCZOS))


def window(raw: UInt8[np.ndarray, "3 height width_px"], patch: Size, side: int = 440) -> Picture:
    """The image cut into its patches, each a pane between bars of lead."""
    rows, columns = raw.shape[1] // patch[0], raw.shape[2] // patch[1]
    pane = max(side // max(rows, columns), 6)
    lead = max(pane // 12, 2)
    height, width = (max(round((pane - lead) * part / max(patch)), 2) for part in patch)
    cut = raw.transpose(1, 2, 0)[: rows * patch[0], : columns * patch[1]]
    cut = cut.reshape(rows, patch[0], columns, patch[1], 3).swapaxes(1, 2).reshape(-1, *patch, 3)
    smooth = Image.Resampling.LANCZOS if height < patch[0] else Image.Resampling.NEAREST
    panes = [np.asarray(Image.fromarray(one).resize((width, height), smooth)) for one in cut]
    whole = fitted(sheet(panes, columns, lead, BARS), 2 * side)
    return encode(whole, "PNG" if rows * columns < 100 else "JPEG")


def lit(raw: UInt8[np.ndarray, "3 height width_px"], shares: Float[np.ndarray, "rows columns"],
        side: int = 128) -> Picture:
    """An image with attention as light falling on it: the most attended patch is brightest, the least is dark."""
    pixels = np.ascontiguousarray(raw.transpose(1, 2, 0))
    enlarge = max(side // max(pixels.shape[:2]), 1)
    pixels = fitted(pixels.repeat(enlarge, 0).repeat(enlarge, 1), side)
    return encode(lit_pixels(pixels, light(shares)), "JPEG")


def filter_sheet(pictures: Float[np.ndarray, "filters height width_px channels"], columns: int = 7) -> Picture:
    """Every filter as a pane."""
    if pictures.shape[-1] != 3:
        pictures = pictures.mean(-1, keepdims=True).repeat(3, -1)
    enlarge = max(56 // max(pictures.shape[1:3]), 1)
    tiles = [(one * 255).round().astype(np.uint8).repeat(enlarge, 0).repeat(enlarge, 1) for one in pictures]
    return encode(sheet(tiles, min(columns, len(tiles)), 4, LEAD), "PNG")


def grid_of_grids(tiles: Float[np.ndarray, "rows columns rows columns"], most: int = 14, side: int = 560) -> Picture:
    """One small map per place, laid out as the places are. A large grid shows every so many places."""
    rows, columns = tiles.shape[:2]
    down = np.linspace(0, rows - 1, min(rows, most)).round().astype(int)
    across = np.linspace(0, columns - 1, min(columns, most)).round().astype(int)
    enlarge = max(side // (max(len(down), len(across)) * max(rows, columns)), 1)
    maps = [glass((tiles[row, column] + 1) / 2).repeat(enlarge, 0).repeat(enlarge, 1)
            for row in down for column in across]
    return encode(sheet(maps, len(across), 3, LEAD), "PNG")


def heat_map(confusion: np.ndarray) -> Picture:
    """A confusion matrix as one pixel a cell, each row by its share; the square root lets rare mistakes be seen."""
    shares = confusion / np.maximum(confusion.sum(1, keepdims=True), 1)
    return encode(glass(np.sqrt(shares)), "PNG", pixelated=True)
