"""`fashion` and `digits`: real pictures that come with the package, so that everything can be tried at once.

    fashion            Fashion-MNIST: the full 70,000 where they are installed, else the embedded 6,000
    fashion:embedded   the first 500 training and 100 test pictures of each class, whatever is installed
    fashion:full       the full 70,000, or an error that says how to get them
    digits             scikit-learn's 1,797 digits of 8 x 8 pixels; the last fifth of each class is the test split
"""

from __future__ import annotations

from pathlib import Path

from vitrail.data.source import Source
from vitrail.data.sources.contract import Request
from vitrail.data.sources.idx import files_of, idx_source, read_folder
from vitrail.data.sources.sheets import EMBEDDED, read_sheets
from vitrail.errors import DataError, UnknownNameError
from vitrail.files import cache_folder

FASHION_CLASSES = ("T-shirt/top", "Trouser", "Pullover", "Dress", "Coat", "Sandal", "Shirt", "Sneaker", "Bag",
                   "Ankle boot")
FASHION_PLACE = Path("/usr/share/datasets/fashion-mnist")
"""Where Debian's package dataset-fashion-mnist puts the four files."""


def is_fashion(request: Request) -> bool:
    return request.spec == "fashion" or request.spec.startswith("fashion:")


def open_fashion(request: Request) -> Source:
    """Open Fashion-MNIST, full or embedded; `kind` says which it took."""
    flavor = request.spec.partition(":")[2]
    if request.spec not in ("fashion", "fashion:embedded", "fashion:full"):
        raise UnknownNameError("source", request.spec, ("fashion", "fashion:embedded", "fashion:full"))
    places = (FASHION_PLACE, cache_folder() / "datasets" / "fashion-mnist")
    place = next((place for place in places if place.is_dir() and len(files_of(place)) == 4), None)
    if place is not None and flavor != "embedded":
        kind = f"Fashion-MNIST, the full 70,000 pictures from {place}"
        splits = read_folder(place)
        counts = {name: len(labels) for name, (_, labels) in splits.items()}
        if counts != {"train": 60_000, "test": 10_000}:
            raise DataError(f"{place} is not Fashion-MNIST: {counts} pictures were found, 60,000 train and 10,000 "
                            "test are expected. Repair it, or use fashion:embedded.")
        notes = ["fashion:embedded takes the 6,000 embedded pictures instead", *folder_note(request)]
        return idx_source(splits, request, "fashion/", kind, FASHION_CLASSES, notes=notes)
    if flavor == "full":
        raise DataError(f"fashion:full needs the full Fashion-MNIST, which is not in {places[0]} nor in {places[1]}. "
                        "Install Debian's package dataset-fashion-mnist, put its four files there, or use "
                        "fashion:embedded.")
    kind = "Fashion-MNIST, the embedded 6,000 pictures (the first 500 train and 100 test of each class)"
    return embedded_source(EMBEDDED / "fashion", request, "fashion/", kind)


def is_digits(request: Request) -> bool:
    return request.spec == "digits"


def open_digits(request: Request) -> Source:
    kind = "handwritten digits, the embedded 1,797 pictures of 8 x 8 pixels (the last fifth of each class is test)"
    return embedded_source(EMBEDDED / "digits", request, "digits/", kind)


def embedded_source(folder: Path, request: Request, prefix: str, kind: str) -> Source:
    """A Source of contact sheets. Names carry the place in the original data set: fashion/test/17."""
    classes, splits, _ = read_sheets(folder)
    pictures = {name: (part.images, part.labels) for name, part in splits.items()}
    indices = {name: part.indices for name, part in splits.items()}
    return idx_source(pictures, request, prefix, kind, classes, indices, folder_note(request))


def photographs() -> dict[str, bytes]:
    """Two photographs for looking at models that come without images, by name."""
    return {path.name: path.read_bytes() for path in sorted((EMBEDDED / "photographs").glob("*.jpg"))}


def folder_note(request: Request) -> list[str]:
    """Say how to reach a folder that has the name of a built-in source."""
    if not request.path.exists():
        return []
    return [f"this is the built-in {request.spec}; for what lies here under that name write ./{request.spec}"]
