"""Published formats <-> Bundle. A file is recognized by its content, never by its name.

    load("B_16.npz")                      official weights, with the official numbers
    load("B_16.npz", image_size=384)      positions resampled by the rule of the code that they come from
    load("hf:timm/NAME")                  fetched from the hub, where it is not in the cache
    write(bundle, "out.npz", "big_vision")
"""

from __future__ import annotations

import warnings
from dataclasses import replace
from pathlib import Path

from pydantic import ValidationError
from torch import nn

from vitrail.bundle import Bundle
from vitrail.errors import BundleError, PickleError, UnknownNameError, UsageError
from vitrail.models.vit.another_size import at_size
from vitrail.vocabulary import Size
from vitrail.weights.big_vision import BigVision
from vitrail.weights.bit import Bit
from vitrail.weights.completed import completed
from vitrail.weights.contract import Format, Reading, Told
from vitrail.weights.hub import fetch, is_hub_name
from vitrail.weights.huggingface import HuggingFace
from vitrail.weights.known import first_reason
from vitrail.weights.native import Native
from vitrail.weights.official import Official
from vitrail.weights.opened import look_into
from vitrail.weights.pickles import open_pickle
from vitrail.weights.profiles import PROFILES
from vitrail.weights.timm import Timm

__all__ = ["FORMATS", "PROFILES", "SILENT", "Format", "Reading", "Told", "is_hub_name", "load", "read", "silent_head",
           "write"]

FORMATS: dict[str, Format] = {
    "vitrail": Native(),
    "official": Official(),
    "big_vision": BigVision(),
    "bit": Bit(),
    "timm": Timm(),
    "huggingface": HuggingFace(),
}


SILENT = ("its head is all zeros, as in the published ImageNet-21k files, whose heads were withheld: its answers mean "
          "nothing. Its features are real: fine-tune it, or use model.embed.")


def load(path: str | Path, image_size: int | Size | None = None, *, heads: int | None = None,
         profile: str | None = None, pickles: bool = False) -> Bundle:
    """A trained model from any known format. Raises BundleError, with the keys and shapes that do not fit.

    `path`: a file, a folder, or `hf:OWNER/NAME` on the Hugging Face hub (see `hub.py`).
    `image_size`: pixels, one number for a square or (height, width); positions are resampled by the rule of the code
    that the weights come from. `heads`: attention heads, for a file that does not tell and has an unusual width.
    `profile`: whose numbers the file has, where that is not what its format implies (PROFILES).
    `pickles`: PyTorch's files are opened too, as weights only; `vitrail convert` asks for it, nothing else does.
    """
    size = (image_size, image_size) if isinstance(image_size, int) else image_size
    bundle = resized(read(path, Told(size, heads, profile), pickles=pickles).load(), size)
    if silent_head(bundle):
        warnings.warn(f"{Path(path).name}: {SILENT}", stacklevel=2)
        bundle.provenance["notes"] = [*bundle.provenance.get("notes", []), SILENT]
    return bundle


def read(path: str | Path, told: Told | None = None, *, pickles: bool = False) -> Reading:
    """What a file is, before memory is taken for its weights (but for pickles). Raises BundleError."""
    told, hub = told or Told(), None
    if is_hub_name(path):
        path, hub = fetch(path)
    try:
        given = look_into(Path(path))
    except PickleError:
        if not pickles:
            raise
        given = open_pickle(Path(path))
    for known in FORMATS.values():
        if known.recognize(given):
            return completed(known.read(given, told), given, told, hub)
    shown = "; ".join(f"{name} {shape}" for name, shape in list(given.shapes.items())[:4]) or "nothing"
    raise BundleError(f"{path} is of no known format. It holds {len(given.shapes)} arrays: {shown}, ... "
                      f"Known: {', '.join(known.describes for known in FORMATS.values())}.")


def write(bundle: Bundle, path: str | Path, format_name: str) -> Path:
    """Save in a published format. Raises UnknownNameError, BundleError where it cannot hold the model, SaveError."""
    if format_name not in FORMATS:
        raise UnknownNameError("format", format_name, FORMATS)
    return FORMATS[format_name].write(bundle, Path(path))


def resized(bundle: Bundle, size: Size | None) -> Bundle:
    """For images of another size. Raises UsageError where the model cannot take them."""
    if size is None:
        return bundle
    try:
        return replace(bundle, model=at_size(bundle.model, size),
                       preprocess=bundle.preprocess.model_copy(update={"size": size}))
    except ValidationError as error:
        raise UsageError(f"image_size={size}: {first_reason(error)}.") from error


def silent_head(bundle: Bundle) -> bool:
    """Published without a head. A model of our own that has not learned yet may well have an empty one."""
    head = bundle.model.head
    return "format" in bundle.provenance and isinstance(head, nn.Linear) and not bool(head.weight.any())
