"""PyTorch's own files, read only when a person asks for it by `vitrail convert`: `weights_only`, and no second try."""

from __future__ import annotations

import pickle
import re
import zipfile
from pathlib import Path

import torch
from torch import Tensor

from vitrail.errors import BundleError
from vitrail.weights.npz import MOST_INFLATED, SPARE
from vitrail.weights.opened import FOLLOWING, Opened, with_neighbors

WRAPPERS = ("state_dict", "model", "teacher", "module")


def open_pickle(path: Path) -> Opened:
    """Tensors by name. Raises BundleError for anything else in it."""
    try:
        with zipfile.ZipFile(path) as archive:
            inflated = sum(one.file_size for one in archive.infolist())
    except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError) as error:
        raise BundleError(f"{path} is no archive of PyTorch 1.6 or later, and older pickles are not opened at all. "
                          "Save it again with torch.save, or as safetensors, where you trust it.") from error
    if inflated > MOST_INFLATED * path.stat().st_size + SPARE:
        raise BundleError(f"{path} would inflate from {path.stat().st_size:,} to {inflated:,} bytes: it is not read.")
    try:
        held = torch.load(path, map_location="cpu", weights_only=True)
    except (pickle.UnpicklingError, RuntimeError, OSError, ValueError, EOFError, KeyError, TypeError, AttributeError,
            IndexError) as error:
        # Not in torch's words, which go on to advise the unsafe way.
        named = re.search(r"Unsupported \w+:? (?:GLOBAL )?([\w.]+)", str(error))
        what = f"it names {named[1]}" if named else f"{type(error).__name__} while reading it"
        raise BundleError(f"{path} holds more than weights, or is damaged: {what}. It is not opened any other "
                          "way.") from error
    for name in WRAPPERS:
        if isinstance(held, dict) and isinstance(held.get(name), dict):
            held = held[name]
    weights: dict[str, Tensor] = {str(name): value for name, value in held.items()
                                  if not FOLLOWING.fullmatch(str(name))} if isinstance(held, dict) else {}
    if not isinstance(held, dict) or not all(isinstance(value, Tensor) and value.is_floating_point()
                                             for value in weights.values()):
        raise BundleError(f"{path} holds no plain state dict: names and tensors of weights are expected.")
    shapes = {name: tuple(value.shape) for name, value in weights.items()}
    return with_neighbors(Opened(path, "safetensors", shapes, lambda name: weights[name].float()))
