"""Models by their names in the literature, of every family; or by the family's name, with every field given."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from pydantic import ValidationError

from vitrail.errors import UnknownNameError, UsageError
from vitrail.models import axial, axial_resnet, bit, hybrid
from vitrail.models.axial import AxialViTConfig
from vitrail.models.axial_resnet import AxialResNetConfig
from vitrail.models.bit import BiTConfig
from vitrail.models.families import Family, ModelConfig
from vitrail.models.hybrid import HybridConfig
from vitrail.models.vit import variants
from vitrail.models.vit.config import PLACEMENTS, ViTConfig


class Naming(NamedTuple):
    """How a family's names become fields of its config."""

    config: type[ViTConfig] | type[BiTConfig]
    recognize: Callable[[str], dict[str, Any] | None]
    known: list[str]


NAMINGS: dict[Family, Naming] = {
    "vit": Naming(ViTConfig, variants.recognize, variants.KNOWN_NAMES),
    "bit": Naming(BiTConfig, bit.recognize, bit.KNOWN_NAMES),
    "hybrid": Naming(HybridConfig, hybrid.recognize, hybrid.KNOWN_NAMES),
    "axial-vit": Naming(AxialViTConfig, axial.recognize, axial.KNOWN_NAMES),
    "axial-resnet": Naming(AxialResNetConfig, axial_resnet.recognize, axial_resnet.KNOWN_NAMES),
}
KNOWN_NAMES = [name for naming in NAMINGS.values() for name in naming.known]


def family_of(name: str) -> Family:
    """The family that a name belongs to. Raises UnknownNameError."""
    for family, naming in NAMINGS.items():
        if name == family or naming.recognize(name) is not None:
            return family
    raise UnknownNameError("model", name, KNOWN_NAMES)


def configure(name: str, **overrides: Any) -> ModelConfig:
    """The configuration of a name (`B/16`, `L/16x32`, `R50x1`, `R50+B/16`, `axial-B/32`), with any field replaced.

    Raises UnknownNameError for an unknown name or field and UsageError where fields do not fit together.
    """
    naming = NAMINGS[family_of(name)]
    unknown = sorted(set(overrides) - set(naming.config.model_fields))
    if unknown:
        raise UnknownNameError("model setting", unknown[0], naming.config.model_fields)
    named = naming.recognize(name) or {}
    fields = {"name": name} | named | overrides
    if "positions" in overrides and "positions_at" not in overrides and overrides["positions"] in PLACEMENTS:
        fields["positions_at"] = PLACEMENTS[overrides["positions"]][0]
    config = validated(naming.config, fields, name)
    if any(getattr(config, part) != value for part, value in named.items() if part != "patch"):
        return config.model_copy(update={"name": f"{name} ({shape_of(config)})"})  # no longer the size of that name
    return config


def settings_of(config: ModelConfig) -> tuple[str, dict[str, Any]]:
    """The inverse of `configure`: a name, and the settings by which it is this config, for any classes and size."""
    naming, name = NAMINGS[config.family], config.name.split(" (")[0]
    named = naming.recognize(name)
    name, named = (config.family, {}) if named is None else (name, named)
    usual = {field: info.get_default() for field, info in naming.config.model_fields.items()} | named
    apart = ("family", "name", "classes", "image_size")
    return name, {field: value for field, value in config.model_dump().items()
                  if field not in apart and value != usual[field]}


def describe_disagreement(name: str, config: ModelConfig) -> list[str]:
    """What a model of that name has different from `config`, but for its patch. Raises UnknownNameError."""
    if family_of(name) != config.family:
        return [f"family is {config.family}, not {family_of(name)}"]
    named = NAMINGS[config.family].recognize(name) or {}
    return [f"{field} is {getattr(config, field)}, not {value}" for field, value in named.items()
            if field != "patch" and getattr(config, field) != value]


def validated(kind: type[ViTConfig] | type[BiTConfig], fields: dict[str, Any], name: str) -> ModelConfig:
    try:
        return kind.model_validate(fields)
    except ValidationError as error:
        reasons = [".".join(map(str, e["loc"])) + ": " * bool(e["loc"]) + e["msg"].removeprefix("Value error, ")
                   for e in error.errors()]
        raise UsageError(f"Model {name}: {'; '.join(reasons)}.") from None


def shape_of(config: ModelConfig) -> str:
    """What a changed size is called: "128x4" (width and depth), "units 1-1-1-1, x0.5"."""
    if isinstance(config, BiTConfig):
        return stages_of(config.depths, config.width)
    encoder = f"{config.width}x{config.depth}"
    if isinstance(config, HybridConfig) and config.stem_depths:
        return f"{encoder}, {stages_of(config.stem_depths, config.stem_width)}"
    return encoder


def stages_of(depths: tuple[int, ...], width: float) -> str:
    return f"units {'-'.join(map(str, depths))}, x{width:g}"
