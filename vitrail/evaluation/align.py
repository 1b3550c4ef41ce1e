"""Labels of one source in the class order of a Bundle: by name, never by position.

A source that lacks a class the Bundle knows numbers the others differently, so a comparison of indices would be
silently wrong.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence

import numpy as np

from vitrail.errors import DataError


def align(labels: np.ndarray, source_classes: Sequence[str],
          bundle_classes: Sequence[str] | None) -> tuple[np.ndarray, list[str]]:
    """`labels` as `Split` holds them, renumbered for the Bundle, and warnings worth printing.

    A Bundle without class names takes the source's order as it is. Names are compared in Unicode's composed form
    (a file system may store the other one). Raises DataError where images carry a class the Bundle does not know.
    """
    if bundle_classes is None:
        return labels, []
    known = {unicodedata.normalize("NFC", name): index for index, name in enumerate(bundle_classes)}
    order = np.array([known.get(unicodedata.normalize("NFC", name), -1) for name in source_classes], dtype=np.int64)
    counts = class_counts(labels, len(source_classes))
    unknown = [name for name, place, count in zip(source_classes, order, counts, strict=True) if place < 0 and count]
    if unknown:
        raise DataError(f"The images have {listed(unknown)}, which the model was not trained on. "
                        f"It knows {listed(list(bundle_classes))}. Rename or remove what does not belong, "
                        "or train on these classes.")
    present = {int(place) for place, count in zip(order, counts, strict=True) if count}
    missing = [name for index, name in enumerate(bundle_classes) if index not in present]
    warnings = [f"No image of {listed(missing)} here: the score says nothing about it."] if missing else []
    return renumber(labels, order, len(bundle_classes)), warnings


def renumber(labels: np.ndarray, order: np.ndarray, classes: int) -> np.ndarray:
    """`order[i]` is the new place of class i, or -1 where no image carries it."""
    if labels.ndim == 1:
        return order[labels] if len(order) else labels
    renumbered = np.zeros((len(labels), classes), dtype=labels.dtype)
    kept = order >= 0
    renumbered[:, order[kept]] = labels[:, kept]
    return renumbered


def class_counts(labels: np.ndarray, classes: int) -> np.ndarray:
    """Images of each class, [classes]."""
    if labels.ndim == 1:
        return np.bincount(labels, minlength=classes)
    return np.count_nonzero(labels, axis=0)


def listed(names: Sequence[str], most: int = 5) -> str:
    """'class "a"', 'classes "a", "b" and 7 more'."""
    shown = ", ".join(f'"{name}"' for name in names[:most])
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return f"{'class' if len(names) == 1 else 'classes'} {shown}{more}"
