"""What `vitrail inspect` looks at: which of its words are models, and the pictures."""

from __future__ import annotations

import glob
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from vitrail.errors import DataError, ImageError, UsageError, VitrailError

if TYPE_CHECKING:
    import numpy as np
    from torch import Tensor

    from vitrail.bundle import Bundle
    from vitrail.vocabulary import Size


class Pictures(NamedTuple):
    """Names and files (or arrays) of what was chosen; `words` say where they come from."""

    names: list[str]
    encoded: list[bytes | np.ndarray]
    words: str


def is_model(word: str) -> bool:
    """Whether a second word names a model rather than pictures: a run, a Bundle, a checkpoint, a file of weights."""
    from vitrail import weights
    from vitrail.run.past import is_checkpoint

    path = Path(word)
    if word.startswith("hf:"):
        return True
    if path.is_dir():
        return is_checkpoint(path) or (path / "bundle").is_dir() or (path / "recipe.json").is_file() or (
            (path / "config.json").is_file())
    if path.is_file() and path.suffix.lower() == ".onnx":
        return True  # of a form that cannot be read, which it is better to say than that it is no picture
    if not path.is_file() or path.suffix.lower() in (".csv", ".jsonl", ".parquet", ".zip", ".tar"):
        return False
    try:
        weights.read(path, weights.Told(None))
    except VitrailError:
        return False
    return True


def load_model(word: str, image_size: Size | None) -> Bundle:
    """By any name that a model has, for images of another size where one is given. The model is made for the size at
    which it looks: published ones often have positions for larger images than their preprocessing makes."""
    from vitrail.cli.loading import load_features
    from vitrail.models.vit.another_size import at_size
    from vitrail.run.past import bundle_at, is_checkpoint

    bundle = bundle_at(Path(word)) if is_checkpoint(Path(word)) else load_features(word)
    size = image_size or bundle.preprocess.size
    bundle.model = at_size(bundle.model, size)
    bundle.preprocess = bundle.preprocess.model_copy(update={"size": size})
    return bundle


def choose_pictures(bundle: Bundle, words: Sequence[str], count: int) -> Pictures:
    """At most `count`, from what was named: the first to the last, evenly many. Without a word, the held-out images of
    the model's own run; where there are none, two photographs."""
    if words:
        found = [one for word in words for one in named(word, count)]
        return Pictures([name for name, _ in found[:count]], [encoded for _, encoded in found[:count]], " ".join(words))
    try:
        return own_pictures(bundle, count)
    except (VitrailError, OSError) as error:
        from vitrail.data.sources.builtin import photographs

        reason = "the model does not say what it was trained on" if isinstance(error, UsageError) else str(error)
        print(f"note: {reason.rstrip('.')}; two photographs take the place of its own images", file=sys.stderr)
        shown = photographs()
        return Pictures(list(shown), list(shown.values()), "two photographs that come with vitrail")


def own_pictures(bundle: Bundle, count: int) -> Pictures:
    from vitrail.api import choose_split, open_for
    from vitrail.inspection.layers import evenly

    source = open_for(bundle, None)
    name, split = choose_split(source, None)
    places = evenly(len(split), count)
    return Pictures([split.names[place] for place in places], [split.read(place) for place in places],
                    f"{name} images of {source.spec}")


def named(word: str, count: int) -> list[tuple[str, bytes | np.ndarray]]:
    """The pictures of one word: files, folders and patterns, or a source as `vitrail train` takes it."""
    from vitrail.data.source import open_source
    from vitrail.data.sources.layout import is_picture
    from vitrail.evaluation.inputs import Failure, expand
    from vitrail.inspection.layers import evenly

    path = Path(word).expanduser()
    if path.is_dir() or glob.has_magic(word) or is_picture(path.name) or not (
            path.exists() or ":" in word or word in ("fashion", "digits")):
        found = list(expand([word]))
        files = [Path(one) for one in found if not isinstance(one, Failure)]
        if files:
            return [(str(files[place]), files[place].read_bytes()) for place in evenly(len(files), count)]
        if not path.is_dir():
            failure = next(one for one in found if isinstance(one, Failure))
            raise DataError(f"{failure.path}: {failure.error}. Give images, a folder of them, or a source such as "
                            "fashion:embedded.")
    split = next(iter(reversed(open_source(word, labeled=False, divide=False).splits.values())))
    return [(split.names[place], split.read(place)) for place in evenly(len(split), count)]


def as_seen(bundle: Bundle, pictures: Pictures) -> tuple[Tensor, tuple[str, ...]]:
    """What the model gets of the pictures, and the names of those that could be read; the others are named."""
    import torch

    raw, names = [], []
    for name, encoded in zip(pictures.names, pictures.encoded, strict=True):
        try:
            raw.append(bundle.preprocess.read(encoded, name))
            names.append(name)
        except ImageError as error:
            print(f"note: {error}; it is left out", file=sys.stderr)
    if not raw:
        raise DataError(f"None of the {len(pictures.names)} images can be read.")
    return torch.stack(raw), tuple(names)
