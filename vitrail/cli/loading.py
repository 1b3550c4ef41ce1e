"""How a command gets its model: any format, with what was assumed said aloud on stderr."""

from __future__ import annotations

import sys
import warnings
from pathlib import Path
from tempfile import TemporaryFile
from typing import TYPE_CHECKING

from vitrail.errors import BundleError, UsageError

if TYPE_CHECKING:
    from vitrail.bundle import Bundle
    from vitrail.vocabulary import Size


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


def quietly_loaded(path: str | Path, image_size: Size | None = None) -> Bundle:
    from vitrail import weights

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the notes say the same in our way
        return weights.load(path, image_size)


def refuse_unwritable(out: Path, *own: str) -> None:
    """Raises UsageError where a folder for results cannot be made or written to, or holds something else than what the
    same verb left there (`own`: files that tell): before anything is computed, and without making it, since something
    else may still be wrong."""
    refuse_no_folder(out, "--out")
    if out.is_dir() and any(out.iterdir()) and not any((out / name).exists() for name in own):
        raise UsageError(f"--out {out} holds something else, which is not mixed with results. Give a folder that is "
                         "empty, or does not exist yet.")


def refuse_no_folder(folder: Path, option: str) -> None:
    """Raises UsageError for a file, and for a folder in which nothing can be written; it is found by trying, since the
    permissions of some file systems say otherwise."""
    if folder.exists() and not folder.is_dir():
        raise UsageError(f"{option} {folder} is a file. Give a folder, which is made where it does not exist.")
    there = next(place for place in (folder, *folder.absolute().parents) if place.exists())
    try:
        with TemporaryFile(dir=there):
            pass
    except OSError:
        raise UsageError(f"{option} {folder} cannot be made or written to: nothing can be put into {there}. "
                         "Choose another folder.") from None


def say_notes(bundle: Bundle) -> None:
    for note in bundle.provenance.get("notes", []):
        print(f"note: {note}", file=sys.stderr)
