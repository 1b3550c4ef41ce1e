"""How a command gets its model: any format, with what was assumed said aloud on stderr."""

from __future__ import annotations

import os
import sys
import warnings
from pathlib import Path
from typing import TYPE_CHECKING

from vitrail.errors import BundleError, UsageError

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


def made_folder(out: Path) -> None:
    """Make the folder for results before anything is computed. Raises UsageError where that cannot be."""
    if out.exists() and not out.is_dir():
        raise UsageError(f"--out {out} is a file. Give a folder, which is made where it does not exist.")
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UsageError(f"--out {out} cannot be made: {error.strerror}. Choose another folder.") from None
    if not os.access(out, os.W_OK):
        raise UsageError(f"Nothing may be written to --out {out}. Choose another folder.")


def say_notes(bundle: Bundle) -> None:
    for note in bundle.provenance.get("notes", []):
        print(f"note: {note}", file=sys.stderr)
