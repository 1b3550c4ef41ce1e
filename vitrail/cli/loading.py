"""How a command gets its model: any format, with what was assumed said aloud on stderr."""

from __future__ import annotations

import sys
import warnings
from pathlib import Path
from typing import TYPE_CHECKING

from vitrail.errors import BundleError

if TYPE_CHECKING:
    from vitrail.bundle import Bundle


def load_bundle(path: Path) -> Bundle:
    """A model whose answers mean something. Raises BundleError for one without a head, or with an empty one."""
    loaded = quietly_loaded(path)
    if reason := loaded.silence():
        raise BundleError(f"{path} cannot answer: {reason}")
    say_notes(loaded)
    return loaded


def load_features(path: str | Path) -> Bundle:
    """A model whose features are asked for: with any head, or none."""
    loaded = quietly_loaded(path)
    say_notes(loaded)
    return loaded


def quietly_loaded(path: str | Path) -> Bundle:
    from vitrail import weights

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the notes say the same in our way
        return weights.load(path)


def say_notes(bundle: Bundle) -> None:
    for note in bundle.provenance.get("notes", []):
        print(f"note: {note}", file=sys.stderr)
