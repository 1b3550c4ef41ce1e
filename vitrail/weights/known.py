"""What a bare file cannot tell, from the sizes that the literature knows: heads, names, the shape of a grid."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, TypeVar

from pydantic import ValidationError

from vitrail.data.preprocess import Preprocess
from vitrail.errors import BundleError
from vitrail.models import BiTConfig, HybridConfig, ModelConfig, ViTConfig
from vitrail.models.bit import DEPTHS
from vitrail.models.names import NAMINGS
from vitrail.models.vit.variants import SIZES
from vitrail.vocabulary import Size
from vitrail.weights.opened import Opened, square

USUAL_HEAD_WIDTH = 64
Kind = TypeVar("Kind", ViTConfig, HybridConfig, BiTConfig)


def name_of(config: ModelConfig) -> str:
    """`B/16`, `R50x1` or `R50+B/16`, where every field is the one that the name stands for."""
    for name in spellings(config):
        named = NAMINGS[config.family].recognize(name)
        if named is not None and all(getattr(config, part) == value for part, value in named.items()):
            return name
    return "custom"


def spellings(config: ModelConfig) -> Iterator[str]:
    """Names that a model of such patches and widths may have."""
    if isinstance(config, BiTConfig):
        yield from (f"R{layers}x{config.width:g}" for layers in DEPTHS)
        return
    rows, columns = config.patch
    patch = f"{rows}" if rows == columns else f"{rows}x{columns}"
    if not isinstance(config, HybridConfig):
        yield from (f"{size}/{patch}" for size in SIZES)
        return
    width = "" if config.stem_width == 1 else f"x{config.stem_width:g}"
    for size in SIZES:
        yield from (f"R{layers}{width}+{size}/{patch}" for layers in DEPTHS)
        if not width and rows == columns:
            yield f"R+{size}/{rows // 2}"


def usual_heads(given: Opened, width: int) -> int:
    """Attention heads by width. Raises BundleError where none are usual."""
    for size in SIZES.values():
        if size.width == width:
            return size.heads
    if width % USUAL_HEAD_WIDTH:
        raise BundleError(f"{given.path} does not say how many attention heads its width {width} is divided into. "
                          "Say it: --heads N.")
    return width // USUAL_HEAD_WIDTH


def own_size(given: Opened, places: int, patch: Size, told: Size | None, *, by_count: bool) -> Size:
    """Image size from the number of places in a table. `by_count`: a table that has as many places as the wanted grid
    is taken as it is, as the official code does; otherwise it is a square where it can be one."""
    if told is not None and (by_count or square(places) is None):
        rows, columns = told[0] // patch[0], told[1] // patch[1]
        if rows * columns == places:
            return rows * patch[0], columns * patch[1]
    side = square(places)
    if side is None:
        raise BundleError(f"{given.path} has positions for {places} patches, which are no square, and does not say "
                          "how they lie. Give the image size that they are for: --image-size HEIGHTxWIDTH, in Python "
                          "image_size=(height, width).")
    return side * patch[0], side * patch[1]


def pair(value: object) -> Size | None:
    """A size as settings write it, one number or two; None where they do not say."""
    if isinstance(value, int) and value > 0:
        return value, value
    if isinstance(value, (list, tuple)) and len(value) == 2 and all(isinstance(one, int) and one > 0 for one in value):
        return value[0], value[1]
    return None


def configured(given: Opened, fields: dict[str, Any]) -> ViTConfig:
    return checked(given, fields, ViTConfig)


def checked(given: Opened, fields: dict[str, Any], kind: type[Kind]) -> Kind:
    """A config that is possible, with the name of its size. Raises BundleError."""
    try:
        config = kind.model_validate(fields)
    except ValidationError as error:
        raise BundleError(f"{given.path} is no model that vitrail can build: {first_reason(error)}.") from error
    return config.model_copy(update={"name": name_of(config)})


def prepared(given: Opened, **fields: Any) -> Preprocess:
    try:
        return Preprocess.model_validate(fields)
    except ValidationError as error:
        raise BundleError(f"{given.path} asks for a preprocessing that vitrail does not have: "
                          f"{first_reason(error)}.") from error


def origin(given: Opened, format_name: str, notes: Sequence[str] = ()) -> dict[str, Any]:
    """Provenance of published weights. The notes say what was assumed."""
    return {"format": format_name, "file": given.path.name} | ({"notes": list(notes)} if notes else {})


def first_reason(error: ValidationError) -> str:
    first = error.errors()[0]
    return ".".join(map(str, first["loc"])) + ": " * bool(first["loc"]) + first["msg"].removeprefix("Value error, ")
