"""How figures of lenses look: colors, and grids of pictures on a matplotlib figure.

Colors tell apart by lightness alone, for people with color blindness and for printers.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from jaxtyping import Float, UInt8

from vitrail.inspection.lens import Drawing
from vitrail.vocabulary import RawImages

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.colors import Colormap
    from matplotlib.figure import Figure

INK, FAINT = "#010101", "#010102"
"""Stand-ins that become `currentColor` or a variable of a page's style sheet, so that figures follow dark and light."""

QUIET = "#7d7885"
"""Small words, readable on white and on black."""

GLASS = np.array([(20, 17, 48), (72, 34, 122), (171, 36, 76), (231, 143, 42), (255, 241, 190)], dtype=np.float64)
"""Dark to light through stained glass. Lightness rises all the way."""

LEAD = (27, 25, 34)
"""The color of the bars that hold panes of glass."""

PIXELS_PER_INCH = 160

NARROW = 10
"""Times from end to end up to which a logarithmic axis has more than 1, 2 and 5 written on it."""


def glass(values: np.ndarray) -> UInt8[np.ndarray, "*shape 3"]:
    """Values 0 to 1 as colors."""
    at = np.linspace(0, 1, len(GLASS))
    colors = np.stack([np.interp(values, at, GLASS[:, channel]) for channel in range(3)], axis=-1)
    return colors.round().astype(np.uint8)


def color_map() -> Colormap:
    """The same for matplotlib."""
    from matplotlib.colors import LinearSegmentedColormap

    return LinearSegmentedColormap.from_list("glass", (GLASS / 255).tolist())


def by_depth(count: int) -> list[tuple[float, float, float]]:
    """A color for each layer, from the first (dark) to the last, all readable on white and on black."""
    steps = glass(np.linspace(0.25, 0.78, max(count, 1))) / 255
    return [(float(red), float(green), float(blue)) for red, green, blue in steps]


def drawn(drawing: Drawing, kind: Literal["svg", "png"], transparent: bool = False) -> bytes:
    """The figure as a file."""
    from matplotlib import rc_context  # half a second to import

    with rc_context({"svg.fonttype": "none", "svg.hashsalt": drawing.name, "font.family": "sans-serif",
                     "font.size": 9, "text.color": INK, "axes.labelcolor": INK, "axes.edgecolor": INK,
                     "xtick.color": INK, "ytick.color": INK}):
        figure = figure_of(drawing)
        buffer = io.BytesIO()
        nothing: dict[str, Any] = {"Date": None, "Creator": None, "Format": None, "Type": None}
        figure.savefig(buffer, format=kind, dpi=PIXELS_PER_INCH, transparent=transparent,
                       metadata=nothing if kind == "svg" else None)
    return buffer.getvalue()


def on_equal_axes(drawings: Sequence[Drawing]) -> list[Drawing]:
    """The same figure of several models, whose axes span what any of them needs: else their lines look alike where
    their numbers are not. Figures with another number of axes stay as they are, and so do pictures."""
    figures = [figure_of(drawing) for drawing in drawings]
    if len({len(figure.axes) for figure in figures}) != 1:
        return list(drawings)
    limits = [None if any(axes.images or not axes.lines for axes in same) else
              (span([axes.get_xlim() for axes in same]), span([axes.get_ylim() for axes in same]))
              for same in zip(*(figure.axes for figure in figures), strict=True)]

    def drawn_alike(figure: Figure, draw: Callable[[Figure], None]) -> None:
        draw(figure)
        for axes, limit in zip(figure.axes, limits, strict=True):
            if limit is not None:
                axes.set_xlim(limit[0])
                axes.set_ylim(limit[1])

    return [drawing._replace(draw=partial(drawn_alike, draw=drawing.draw)) for drawing in drawings]


def figure_of(drawing: Drawing) -> Figure:
    """Drawn, and not yet a file."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(drawing.width, drawing.height), layout="constrained")
    drawing.draw(figure)
    return figure


def span(limits: Sequence[tuple[float, float]]) -> tuple[float, float]:
    return min(low for low, _ in limits), max(high for _, high in limits)


def pixels(raw: RawImages) -> list[UInt8[np.ndarray, "height width_px 3"]]:
    """Images as they are drawn."""
    return [np.ascontiguousarray(one.permute(1, 2, 0).cpu().numpy()) for one in raw]


def picture(axes: Axes, image: np.ndarray, title: str = "", **how: Any) -> Any:
    """An image without ticks; small ones are enlarged pixel by pixel."""
    axes.set_xticks([])
    axes.set_yticks([])
    for side in axes.spines.values():
        side.set_visible(False)
    if title:
        axes.set_title(plain(title), fontsize=8)
    smooth = "antialiased" if max(image.shape[:2]) > 96 else "nearest"
    return axes.imshow(image, **({"interpolation": smooth} | how))


def picture_rows(figure: Figure, rows: Sequence[Sequence[np.ndarray | None]], columns: Sequence[str],
                 names: Sequence[str] = ()) -> np.ndarray:
    """A grid of pictures with words over the columns and beside the rows, each of which begins with a picture. Returns
    the axes, [rows, columns]."""
    grid: np.ndarray = figure.subplots(len(rows), len(columns), squeeze=False)
    for number, (line, pictures) in enumerate(zip(grid, rows, strict=True)):
        for axes, image, title in zip(line, pictures, columns, strict=True):
            if image is None:
                axes.axis("off")
                continue
            picture(axes, image, title if number == 0 else "")
        if number < len(names):
            height, width = next(one for one in pictures if one is not None).shape[:2]
            label = line[0].set_xlabel if is_flat(height, width) else line[0].set_ylabel
            label(plain(shortened(names[number])), fontsize=7, color=QUIET)
    return grid


def is_flat(height: int, width: int) -> bool:
    """Its name stands under it, since beside it it would reach into the next row."""
    return height < 0.75 * width


def sheet(tiles: Sequence[np.ndarray], columns: int, gap: int, color: tuple[int, int, int]) -> np.ndarray:
    """Tiles of one size in rows, with a gap around each."""
    height, width = tiles[0].shape[:2]
    rows = -(-len(tiles) // columns)
    canvas = np.full((rows * (height + gap) + gap, columns * (width + gap) + gap, 3), color, dtype=np.uint8)
    for index, tile in enumerate(tiles):
        top, left = gap + index // columns * (height + gap), gap + index % columns * (width + gap)
        canvas[top : top + height, left : left + width] = tile
    return canvas


def scale_beside(figure: Figure, axes: Any, low: float, high: float, words: str) -> None:
    """What the colors of `glass` stand for, where it was applied by hand."""
    from matplotlib.cm import ScalarMappable
    from matplotlib.colors import Normalize

    figure.colorbar(ScalarMappable(Normalize(low, high), color_map()), ax=axes, label=words, shrink=0.6)


def lit(image: UInt8[np.ndarray, "height width_px 3"],
        light: Float[np.ndarray, "rows columns"]) -> UInt8[np.ndarray, "height width_px 3"]:
    """An image with a map from 0 to 1 as light that falls on it: grey where it is dark, through colored glass where it
    is bright."""
    from PIL import Image

    size = image.shape[1], image.shape[0]
    smooth = np.asarray(Image.fromarray(light.astype(np.float32)).resize(size, Image.Resampling.BICUBIC)).clip(0, 1)
    grey = image.astype(np.float64).mean(-1, keepdims=True)
    share = smooth[..., None]
    mixed = (0.42 + 0.16 * share) * grey + (0.24 + 0.46 * share) * glass(smooth)
    return mixed.clip(0, 255).astype(np.uint8)


def framed(image: UInt8[np.ndarray, "height width_px 3"], place: tuple[int, int],
           grid: tuple[int, int]) -> UInt8[np.ndarray, "height width_px 3"]:
    """The image with a frame, white within black, around the patch at this row and column of the grid."""
    top, bottom = (image.shape[0] * edge // grid[0] for edge in (place[0], place[0] + 1))
    left, right = (image.shape[1] * edge // grid[1] for edge in (place[1], place[1] + 1))
    line = max(min(bottom - top, right - left) // 7, 1)
    marked = image.copy()
    for inset, color in ((0, 0), (line, 255)):
        area = marked[top + inset: bottom - inset, left + inset: right - inset]
        for side in (area[:line], area[-line:], area[:, :line], area[:, -line:]):
            side[:] = color
    return marked


def light(shares: np.ndarray) -> Float[np.ndarray, "*shape"]:
    """Shares of attention from 0 to 1, from the least to the most of this map. Where the most is less than twice the
    least, it stays below 1, so that next to nothing does not look like much; all 0 where all are alike."""
    low, high = float(shares.min()), float(shares.max())
    scaled: np.ndarray = ((shares - low) / max(high - low, 0.5 * abs(high), 1e-12)).astype(np.float32)
    return scaled


def tidy(axes: Axes, horizontal: str = "", vertical: str = "") -> None:
    """Labels, a light grid and no frame on two sides."""
    axes.set_xlabel(horizontal)
    axes.set_ylabel(vertical)
    axes.grid(axis="y", linewidth=0.5, color="#8886", zorder=0)
    axes.spines[["top", "right"]].set_visible(False)


def whole_numbers(axes: Axes) -> None:
    """No half blocks on the horizontal axis."""
    from matplotlib.ticker import MaxNLocator

    axes.xaxis.set_major_locator(MaxNLocator(integer=True))


def in_numbers(axes: Axes, both: bool = False) -> None:
    """20 and 54,000 where a logarithmic axis would write powers of ten; on the vertical axis, or on both."""
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

    for axis in (axes.yaxis, *([axes.xaxis] if both else [])):
        low, high = axis.get_view_interval()
        few = high < NARROW * low
        axis.set_major_locator(LogLocator(base=10, subs=(1, 1.5, 2, 3, 4, 5, 6, 8) if few else (1, 2, 5), numticks=12))
        axis.set_major_formatter(FuncFormatter(lambda value, place: f"{value:,.10g}"))
        axis.set_minor_formatter(NullFormatter())


def shortened(name: str, most: int = 24) -> str:
    """The end of a path, which tells more than its beginning."""
    return name if len(name) <= most else "\u2026" + name[-(most - 1):]


def plain(words: str) -> str:
    """A dollar sign would begin a formula."""
    return "".join(letter if letter.isprintable() else "\ufffd" for letter in words).replace("$", r"\$")
