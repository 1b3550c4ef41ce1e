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

from vitrail.bundle import Bundle, MaskedDecoder
from vitrail.errors import BundleError, PickleError, UnknownNameError
from vitrail.models.vit.another_size import at_size, describe_change
from vitrail.vocabulary import Size
from vitrail.weights.big_vision import BigVision
from vitrail.weights.bit import Bit
from vitrail.weights.completed import completed
from vitrail.weights.contract import Format, Reading, Told
from vitrail.weights.hub import fetch, is_hub_name
from vitrail.weights.huggingface import HuggingFace
from vitrail.weights.mae_decoder import decoder_in
from vitrail.weights.native import Native
from vitrail.weights.official import Official
from vitrail.weights.opened import Opened, look_into, pickle_in
from vitrail.weights.pickles import open_pickle
from vitrail.weights.profiles import PROFILES
from vitrail.weights.timm import Timm

__all__ = ["FORMATS", "PROFILES", "Format", "Reading", "Told", "is_hub_name", "load", "read", "write"]

FORMATS: dict[str, Format] = {
    "vitrail": Native(),
    "official": Official(),
    "big_vision": BigVision(),
    "bit": Bit(),
    "timm": Timm(),
    "huggingface": HuggingFace(),
}


def load(path: str | Path, image_size: int | Size | None = None, *, patch: int | Size | None = None,
         heads: int | None = None, profile: str | None = None, pickles: bool = False, decoder: bool = False) -> Bundle:
    """A trained model from any known format. Raises BundleError, with the keys and shapes that do not fit.

    `path`: a file, a folder, or `hf:OWNER/NAME` on the Hugging Face hub (see `hub.py`).
    `image_size`: pixels, one number for a square or (height, width); positions are resampled by the rule of the code
    that the weights come from. `patch`: pixels likewise; kernels are resized by FlexiViT's pseudo-inverse.
    `heads`: attention heads, for a file that does not tell and has an unusual width. `profile`: whose numbers the file
    has, where that is not what its format implies (PROFILES). `pickles`: PyTorch's files are opened too, as weights
    only; `vitrail convert` asks for it, nothing else does. `decoder`: also that of masked pre-training, where there is
    one for patches of this size.
    """
    size, wanted = as_size(image_size), as_size(patch)
    reading = read(path, Told(size, heads, profile), pickles=pickles)
    bundle = resized(reading.load(), size, wanted)
    if decoder and wanted is None and (found := reading.decoder()) is not None:
        bundle.decoder = MaskedDecoder(found.heads, {name: value for name, value in found.load().items()
                                                     if name != "table"})
    if (reason := bundle.silence()) and bundle.model.config.classes:
        warnings.warn(f"{Path(path).name}: {reason}", stacklevel=2)
        bundle.provenance["notes"] = [*(note for note in notes_of(bundle) if note != reason), reason]
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
        given = open_pickle(pickle_in(Path(path)))
    for known in FORMATS.values():
        if known.recognize(given):
            return completed(with_decoder(known.read(given, told), given), given, told, hub)
    if not given.settings and any("embeddings." in name for name in given.shapes):
        raise BundleError(f"{path} has the keys of Hugging Face transformers, but no config.json beside it says which "
                          "model it is. Put the model's config.json into the same folder.")
    shown = "; ".join(f"{name} {shape}" for name, shape in list(given.shapes.items())[:4]) or "nothing"
    raise BundleError(f"{path} is of no known format. It holds {len(given.shapes)} arrays: {shown}, ... "
                      f"Known: {', '.join(known.describes for known in FORMATS.values())}.")


def with_decoder(reading: Reading, given: Opened) -> Reading:
    """A Bundle's own reader knows where it lies."""
    if FORMATS["vitrail"].recognize(given):
        return reading
    return replace(reading, decoder=lambda: decoder_in(given, reading.config.model))


def write(bundle: Bundle, path: str | Path, format_name: str) -> Path:
    """Save in a published format. Raises UnknownNameError, BundleError where it cannot hold the model, SaveError."""
    if format_name not in FORMATS:
        raise UnknownNameError("format", format_name, FORMATS)
    return FORMATS[format_name].write(bundle, Path(path))


def resized(bundle: Bundle, size: Size | None, patch: Size | None = None) -> Bundle:
    """For images and patches of another size; the notes say what was done. Raises UsageError where patches do not
    divide the image."""
    if size is None and patch is None:
        return bundle
    before, size = bundle.model.config, size or bundle.preprocess.size
    model = at_size(bundle.model, size, patch)
    notes = [f"{words[0].upper()}{words[1:]}." for words in describe_change(before, model.config)]
    provenance = bundle.provenance | ({"notes": [*notes_of(bundle), *notes]} if notes else {})
    return replace(bundle, model=model, preprocess=bundle.preprocess.model_copy(update={"size": size}),
                   provenance=provenance)


def as_size(value: int | Size | None) -> Size | None:
    """One number means a square."""
    return (value, value) if isinstance(value, int) else value


def notes_of(bundle: Bundle) -> list[str]:
    """What was assumed of the file, and what was done to its weights."""
    return list(bundle.provenance.get("notes", []))
