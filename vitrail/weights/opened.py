"""A path looked into: which container it is, and what its tensors are called, before any memory is taken for them."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from safetensors import SafetensorError, safe_open
from torch import Tensor

from vitrail.bundle import CONFIG, LARGEST_CONFIG, WEIGHTS, read_tensor
from vitrail.errors import BundleError
from vitrail.weights.npz import open_npz, pickled

Container = Literal["bundle", "npz", "safetensors"]
Shapes = dict[str, tuple[int, ...]]

PREPROCESSOR = "preprocessor_config.json"
FLOATS = ("F64", "F32", "F16", "BF16")
FOLLOWING = re.compile(r"(.*\.)?(relative_position_index|position_ids)")
"""Whole numbers that follow from the model and are no weights; older files carry them along."""

INDEX = f"{WEIGHTS}.index.json"
PICKLES = ("pytorch_model.bin", "model.pth", "model.pt")


def no_tensor(name: str) -> Tensor:
    raise KeyError(name)


@dataclass(frozen=True)
class Opened:
    """`tensor` reads one by name, in float32; `settings` and `preprocessor` are the JSON files beside, where there
    are any; `header` is the text in the file's own header."""

    path: Path
    container: Container
    shapes: Shapes = field(default_factory=dict)
    tensor: Callable[[str], Tensor] = field(repr=False, default=no_tensor)
    header: dict[str, str] = field(default_factory=dict)
    settings: dict[str, Any] = field(default_factory=dict)
    preprocessor: dict[str, Any] = field(default_factory=dict)


def look_into(path: Path) -> Opened:
    """Raises BundleError where nothing can be read, and for pickles, which are never opened."""
    if not path.exists() or (path / "bundle").exists() or (path / ".old-bundle").exists():
        return Opened(path, "bundle")  # its own reader knows what to say
    if path.is_dir():
        return look_into_folder(path)
    try:
        with open(path, "rb") as file:
            start = file.read(16)
    except OSError as error:
        raise BundleError(f"{path} cannot be read: {error.strerror or error}.") from error
    if start[:2] == b"PK":
        return with_neighbors(Opened(path, "npz", *open_npz(path)))
    if start[8:9] == b"{" and int.from_bytes(start[:8], "little") < path.stat().st_size:  # may begin as a pickle does
        return with_neighbors(open_safetensors(path))
    if start[:1] == b"\x80":
        raise pickled(path)
    if start.lstrip()[:1] == b"{" and "weight_map" in read_json(path):
        return with_neighbors(open_shards(path))
    if path.suffix.lower() == ".onnx":
        raise BundleError(f"{path} is an ONNX file: a computation, in which weights have lost their names. Give the "
                          "weights that it was made from (.safetensors, .npz, or a folder of Hugging Face).")
    what = f"it begins with {start[:8]!r}" if start else "it is empty"
    raise BundleError(f"{path} holds no weights that vitrail knows: it is neither .npz nor safetensors ({what}).")


def look_into_folder(path: Path) -> Opened:
    if (path / CONFIG).exists() and "model_type" not in (settings := read_json(path / CONFIG)) \
            and "architecture" not in settings:
        return Opened(path, "bundle")
    if (path / WEIGHTS).exists() and (path / CONFIG).exists():
        return look_into(path / WEIGHTS)
    if (path / INDEX).exists():
        return with_neighbors(open_shards(path / INDEX))
    if (pickle := pickle_in(path)) != path:
        raise pickled(pickle)
    return Opened(path, "bundle")


def pickle_in(path: Path) -> Path:
    """The pickle that a folder holds under one of its usual names; the path itself where there is none."""
    return next((path / name for name in PICKLES if (path / name).exists()), path)


def with_neighbors(given: Opened) -> Opened:
    """The settings that stand beside a file, where they are another code's."""
    settings = read_json(given.path.parent / CONFIG)
    if given.container != "safetensors" or not {"model_type", "architecture"} & set(settings):
        return given
    return Opened(given.path, given.container, given.shapes, given.tensor, given.header, settings,
                  read_json(given.path.parent / PREPROCESSOR))


def read_json(path: Path) -> dict[str, Any]:
    """The object in a file, or nothing where there is none: formats ask for what they need by name."""
    try:
        if not path.is_file() or path.stat().st_size > LARGEST_CONFIG:
            return {}
        value = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return {}
    return value if isinstance(value, dict) else {}


def open_safetensors(path: Path) -> Opened:
    try:
        with safe_open(path, framework="pt") as file:
            names = [name for name in file.keys() if not FOLLOWING.fullmatch(name)]  # noqa: SIM118
            slices = {name: file.get_slice(name) for name in names}
            shapes = {name: tuple(part.get_shape()) for name, part in slices.items()}
            kinds = {name: part.get_dtype() for name, part in slices.items()}
            header = file.metadata() or {}
    except (SafetensorError, OSError) as error:
        raise BundleError(f"{path} cannot be read as safetensors: {error}.") from error
    strange = [f"{name} ({kind})" for name, kind in kinds.items() if kind not in FLOATS]
    if strange:
        raise BundleError(f"{path} holds numbers that are no weights: {', '.join(strange[:5])}. "
                          f"Known: {', '.join(FLOATS)}.")

    def tensor(name: str) -> Tensor:
        try:
            return read_tensor(path, name)
        except (SafetensorError, OSError) as error:
            raise BundleError(f"{path} cannot be read as safetensors: {error}.") from error

    return Opened(path, "safetensors", shapes, tensor, header)


def open_shards(path: Path) -> Opened:
    """Weights in several files, and the index that says which tensor is in which. Both have to agree."""
    said = read_json(path).get("weight_map")
    if not isinstance(said, dict) or not all(isinstance(name, str) for name in said.values()):
        raise BundleError(f"{path} is no index of weights: it has no 'weight_map' from tensors to files.")
    files = sorted(set(said.values()))
    for name in files:
        if Path(name).name != name or "\\" in name or not (path.parent / name).is_file():
            raise BundleError(f"{path} names the file {name!r}, which is not beside it. Fetch the whole folder again.")
    opened = {name: open_safetensors(path.parent / name) for name in files}
    held = {key: name for name, one in opened.items() for key in one.shapes}
    wanted = {key: name for key, name in said.items() if not FOLLOWING.fullmatch(key)}
    differing = sorted(set(wanted.items()) ^ set(held.items()))
    if differing or len(held) != sum(len(one.shapes) for one in opened.values()):
        named = differing[0][0] if differing else "a tensor in two files"
        raise BundleError(f"{path} and the files that it names do not agree ({named}). Fetch the whole folder again.")
    shapes = {key: shape for one in opened.values() for key, shape in one.shapes.items()}
    return Opened(path, "safetensors", shapes, lambda key: opened[held[key]].tensor(key))


def square(places: int) -> int | None:
    """The side of a square of so many places, where there is one."""
    side = math.isqrt(max(places, 0))
    return side if side * side == places and side > 0 else None
