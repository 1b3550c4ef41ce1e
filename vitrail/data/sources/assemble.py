"""Listing -> Source: the one place where classes, labels and splits are decided, the same for every kind of source.

    splits (own or made) -> classes from train -> labels by name -> validation part -> checks -> Source
"""

from __future__ import annotations

import difflib
import hashlib
import unicodedata
from collections.abc import Iterable, Sequence

import numpy as np

from vitrail.data.source import SPLITS, Source, Split
from vitrail.data.sources.contract import Listing, Request, counted, first_names
from vitrail.data.sources.duplicates import duplicate_warnings
from vitrail.data.split import TEST, TRAIN, VAL, carve_validation, check_share, divide
from vitrail.errors import DataError


def assemble(listing: Listing, request: Request, kind: str) -> Source:
    """Decide classes and splits and build the Source. Raises DataError where the labels cannot be learned from."""
    check_share(request.validation)
    if not len(listing.names):
        raise DataError(f"{request.spec} ({kind}) holds no picture that could be read.")
    own = None if listing.splits is None else np.array([SPLITS.index(split) for split in listing.splits], np.int64)
    if own is not None and request.divide and (own == TRAIN).all():
        own = None  # nothing is held out, so there would be nothing to measure by: divide it like an unsplit source
    classes = decide_classes(listing, request, own)
    labels = label_array(listing, request, classes, own)
    parts, how = decide_splits(listing, request, labels, own)
    splits = {}
    for code, name in enumerate(SPLITS):
        rows = np.flatnonzero(parts == code)
        if len(rows):
            names = [listing.names[row] for row in rows.tolist()]
            splits[name] = Split(names, rows, labels[rows], listing.reader)
    warnings = [*listing.warnings, *absent_classes(splits, classes, request, listing.multilabel)]
    warnings += duplicate_warnings(splits, listing.sizes, listing.hashes)
    return Source(request.spec, kind, classes, splits, fingerprint(listing, parts, how), listing.multilabel,
                  (*listing.notes, *([how] if how else [])), tuple(warnings))


def decide_classes(listing: Listing, request: Request, own: np.ndarray | None) -> tuple[str, ...]:
    """Class names in their order: the caller's, or those of the training pictures (of all, before a split is made).
    None where no picture needs a label, and none has one."""
    if request.classes is not None:
        return request.classes
    if own is not None and request.divide and not (own == TRAIN).any():
        raise DataError(f"{request.spec} has {joined(SPLITS[i] for i in np.unique(own))} but no training pictures. "
                        "Classes are taken from train: add a train split, or evaluate a trained model on it.")
    if not request.labeled and not any(listing.labels):
        return ()
    if listing.class_order is not None:
        return listing.class_order
    learned: Sequence[str | tuple[str, ...]] = listing.labels
    if own is not None and (own == TRAIN).any():
        learned = [listing.labels[row] for row in np.flatnonzero(own == TRAIN).tolist()]
    found = {name for row in set(learned) for name in ((row,) if isinstance(row, str) else row)}
    names = {unicodedata.normalize("NFC", name) for name in found}
    refuse_collisions(sorted(found | listing.declared.get("train", set())), request.spec)
    if request.divide and len(names) < (1 if listing.multilabel else 2):
        raise DataError(f"{request.spec} has {joined(repr(n) for n in names) or 'no label'} as its only class. One "
                        "class cannot be learned: there is nothing to tell it from. Add pictures of another class"
                        ", in a folder or under a label of its own.")
    numeric = listing.numeric_order and all(is_number(name) for name in names)
    return tuple(sorted(names, key=(lambda name: (int(name), name)) if numeric else None))


def refuse_collisions(names: Iterable[str], spec: str) -> None:
    """Raise DataError for two class names that a person or another file system would take for one."""
    seen: dict[str, str] = {}
    for name in names:
        plain = unicodedata.normalize("NFC", unicodedata.normalize("NFC", name).casefold())
        if plain in seen:
            why = "upper and lower case" if unicodedata.normalize("NFC", name) != unicodedata.normalize(
                "NFC", seen[plain]) else f"their Unicode form ({seen[plain]!a} and {name!a})"
            raise DataError(f"{spec} has the classes {seen[plain]!r} and {name!r}, which differ only by {why}. "
                            "Merge or rename them.")
        seen[plain] = name


def label_array(listing: Listing, request: Request, classes: tuple[str, ...], own: np.ndarray | None) -> np.ndarray:
    """Labels mapped onto `classes` by name: int64 [pictures], or float32 0/1 [pictures, classes]."""
    if not classes and not request.labeled:
        return np.zeros(len(listing.labels), np.int64)
    index = {unicodedata.normalize("NFC", name): position for position, name in enumerate(classes)}
    rows = [(label,) if isinstance(label, str) else label for label in listing.labels]
    codes: dict[str, int] = {}
    unknown: dict[str, int] = {}
    for row, labels in enumerate(rows):
        for label in labels:
            if label not in codes:
                codes[label] = index.get(unicodedata.normalize("NFC", label), -1)
                if codes[label] < 0:
                    unknown[label] = row
    if unknown:
        where = {SPLITS[own[row]] for row in unknown.values()} if own is not None else set()
        refuse_unknown(sorted(unknown), classes, request, where)
    if not listing.multilabel:
        return np.fromiter((codes[label] for label, in rows), np.int64, len(rows))
    result = np.zeros((len(rows), len(classes)), np.float32)
    for row, labels in enumerate(rows):
        result[row, [codes[label] for label in labels]] = 1
    return result


def refuse_unknown(unknown: Sequence[str], classes: Sequence[str], request: Request, where: set[str]) -> None:
    known = "the model does not know" if request.classes is not None else "train lacks"
    place = f" ({joined(sorted(where))})" if where else ""
    near = difflib.get_close_matches(unknown[0], classes, n=1, cutoff=0.6)
    hint = f" Is {near[0]!r} meant?" if near else ""
    noun = "a class" if len(unknown) == 1 else f"{len(unknown)} classes"
    raise DataError(f"{request.spec}{place} has {noun} that {known}: {first_names(unknown)}.{hint} Known: "
                    f"{first_names(classes, 10)}. Rename or remove it, or add training pictures of it.")


def decide_splits(listing: Listing, request: Request, labels: np.ndarray,
                  own: np.ndarray | None) -> tuple[np.ndarray, str]:
    """The split of each picture as 0, 1, 2, and a note on what was made by us ("" where nothing was)."""
    if own is None:
        if not request.divide:
            return np.full(len(labels), TEST, np.int64), ""
        parts = divide(listing.identities, labels, seed=request.seed, validation=request.validation)
        way = "at random" if listing.multilabel or not any(listing.labels) else "the same shares of each class"
        return parts, f"split by vitrail, {way} (seed {request.seed}, validation {request.validation})"
    if request.divide and request.validation > 0 and (own == TEST).any() and not (own == VAL).any():
        train = np.flatnonzero(own == TRAIN)
        identities = [listing.identities[row] for row in train.tolist()]
        held = carve_validation(identities, labels[train], seed=request.seed, validation=request.validation)
        parts = own.copy()
        parts[train[held]] = VAL
        return parts, (f"{counted(int(held.sum()), 'picture')} of train held out as val "
                       f"(seed {request.seed}, validation {request.validation})")
    return own, ""


def absent_classes(splits: dict[str, Split], classes: tuple[str, ...], request: Request,
                   multilabel: bool) -> list[str]:
    """One warning for each split in which some class has no picture; its score is not affected, mapping is by name."""
    warnings = []
    for name, split in splits.items():
        counts = split.labels.sum(0) if multilabel else np.bincount(split.labels, minlength=len(classes))
        absent = [classes[index] for index in np.flatnonzero(counts == 0)]
        if absent and not (request.classes is not None and name == "train"):
            effect = "nothing is learned about them" if name == "train" else "their accuracy cannot be measured there"
            warnings.append(f"{name} has no picture of {len(absent)} of the {len(classes)} classes: "
                            f"{first_names(absent)}; {effect}.")
    return warnings


def fingerprint(listing: Listing, parts: np.ndarray, how: str) -> str:
    """SHA-256 over identities, sizes, labels and splits of all pictures, and over how we made the splits."""
    digest = hashlib.sha256(f"vitrail source 1\n{listing.content}\n{how}\n".encode())
    for row, part in enumerate(parts.tolist()):
        label = listing.labels[row]
        label = label if isinstance(label, str) else "|".join(label)
        digest.update(f"{listing.identities[row]}\0{listing.sizes[row]}\0{label}\0{part}\n".encode())
    return digest.hexdigest()


def is_number(name: str) -> bool:
    return name.isascii() and name.removeprefix("-").isdigit() and str(int(name)) == name


def joined(names: Iterable[str]) -> str:
    return " and ".join(names)
