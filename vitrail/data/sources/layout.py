"""What a tree of pictures means, from relative names alone; the same rules for folders and archives.

    cat/1.png  dog/2.png                     classes; splits are made
    train/cat/1.png  val/dog/2.png           splits with classes inside (folders below a class belong to it)
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from vitrail.data.sources.contract import counted, first_names
from vitrail.errors import DataError

SPLIT_NAMES = {"train": "train", "training": "train", "val": "val", "valid": "val", "validation": "val",
               "dev": "val", "test": "test", "testing": "test"}
"""Folder names that mean a split, in any case of letters."""

EXTENSIONS = frozenset({
    "apng", "avif", "avifs", "bmp", "dib", "gif", "ico", "j2k", "jfif", "jp2", "jpe", "jpeg", "jpg", "jpx", "mpo",
    "pbm", "pcx", "pgm", "png", "pnm", "ppm", "tga", "tif", "tiff", "webp"})
"""Endings of picture files that Pillow opens, in any case of letters."""

BOTH_LAYOUTS = """Put the pictures of each class into a folder of its own:
    SOURCE/cat/1.jpg  SOURCE/dog/2.jpg                 (splits are then made)
or, with splits of your own:
    SOURCE/train/cat/1.jpg  SOURCE/val/dog/2.jpg       (and test/ if you have one)
or list them in a manifest with the columns path,label[,split].
`vitrail pretrain` learns from pictures without labels."""


@dataclass(frozen=True)
class Layout:
    """`rows` of the given names that are used, with `labels` and `splits` (None: not split) for each of them.
    `declared`: class folders by split, empty ones included. All labels are "" where there are none."""

    rows: list[int]
    labels: list[str]
    splits: list[str] | None
    declared: dict[str, set[str]]
    warnings: list[str] = field(default_factory=list)


def is_picture(name: str) -> bool:
    return name.rpartition(".")[2].lower() in EXTENSIONS and "." in name


def is_hidden(name: str) -> bool:
    """Hidden by convention, or what macOS puts into archives."""
    return name.startswith(".") or name == "__MACOSX"


def recognize_layout(names: Sequence[str], folders: Iterable[str], spec: str, labeled: bool = True) -> Layout:
    """Read classes and splits from the relative names of pictures ("train/cat/1.png") and of folders ("train/owl").
    Unless they have to be `labeled`, pictures without a class count too, and then none of them has one."""
    parts = [name.split("/", 2) for name in names]
    branches = [folder.split("/") for folder in folders]
    if is_split(parts, branches):
        return split_layout(parts, branches, spec, labeled)
    tops = {part[0] for part in parts if len(part) > 1}
    if not labeled and (len(tops) < 2 or any(len(part) == 1 for part in parts)):
        return Layout(list(range(len(parts))), [""] * len(parts), None, {})
    flat = [row for row, part in enumerate(parts) if len(part) == 1]
    if len(flat) == len(parts):
        raise DataError(f"{spec} has {counted(len(flat), 'picture')} and no class folders, so no picture has a label."
                        f"\n{BOTH_LAYOUTS}")
    rows = [row for row, part in enumerate(parts) if len(part) > 1]
    declared = {branch[0] for branch in branches} | {parts[row][0] for row in rows}
    layout = Layout(rows, [parts[row][0] for row in rows], None, {"train": declared})
    report_left_out(layout, {"": [names[row] for row in flat]})
    return layout


def is_split(parts: list[list[str]], branches: list[list[str]]) -> bool:
    """Is this SOURCE/train/class/picture? A class that happens to be called "train" has pictures and no folders."""
    tops = {part[0] for part in parts if len(part) > 1} | {branch[0] for branch in branches}
    known = {top for top in tops if top.lower() in SPLIT_NAMES}
    inside = any(len(part) > 2 and part[0] in known for part in parts)
    inside = inside or any(len(branch) > 1 and branch[0] in known for branch in branches)
    train = any(SPLIT_NAMES[top.lower()] == "train" for top in known)
    return bool(known) and (known == tops or (train and inside))


def split_layout(parts: list[list[str]], branches: list[list[str]], spec: str, labeled: bool = True) -> Layout:
    tops = sorted({part[0] for part in parts if len(part) > 1} | {branch[0] for branch in branches})
    meaning: dict[str, str] = {}
    for top in tops:
        split = SPLIT_NAMES.get(top.lower())
        if split in meaning.values():
            other = next(name for name, value in meaning.items() if value == split)
            raise DataError(f"{spec} has the folders {other!r} and {top!r}, and both mean {split}. "
                            "Merge them or rename one.")
        if split:
            meaning[top] = split
    rows = [row for row, part in enumerate(parts) if len(part) > 1 and part[0] in meaning]
    if not labeled and (any(len(parts[row]) == 2 for row in rows) or len({parts[row][1] for row in rows}) < 2):
        bare = Layout(rows, [""] * len(rows), [meaning[parts[row][0]] for row in rows],
                      {split: set() for split in meaning.values()})
        report_left_out(bare, {top: ["/".join(part) for part in parts if len(part) > 1 and part[0] == top]
                               for top in tops if top not in meaning})
        return bare
    rows = [row for row in rows if len(parts[row]) == 3]
    declared: dict[str, set[str]] = {split: set() for split in meaning.values()}
    for branch in (*branches, *(parts[row] for row in rows)):
        if len(branch) > 1 and branch[0] in meaning:
            declared[meaning[branch[0]]].add(branch[1])
    left: dict[str, list[str]] = {}
    for part in parts:
        if len(part) < 3 or part[0] not in meaning:
            left.setdefault(part[0] if len(part) > 1 else "", []).append("/".join(part))
    train = next((top for top, split in meaning.items() if split == "train"), None)
    if train in left and not declared["train"]:
        raise DataError(f"{spec}/{train} has {counted(len(left[train]), 'picture')} and no class folders, so no "
                        f"picture has a label.\n{BOTH_LAYOUTS}")
    layout = Layout(rows, [parts[row][1] for row in rows], [meaning[parts[row][0]] for row in rows], declared)
    report_left_out(layout, left)
    return layout


def report_left_out(layout: Layout, left: dict[str, list[str]]) -> None:
    """Add warnings for pictures without a class and for class folders without a picture."""
    for top, names in left.items():
        if names:
            place = f"in {top}/" if top else "at the top"
            layout.warnings.append(f"{counted(len(names), 'picture')} {place} left out, not in a class folder of a "
                                   f"known split: {first_names(names)}.")
    counts = Counter(zip(layout.splits or ["train"] * len(layout.rows), layout.labels, strict=True))
    for split, classes in layout.declared.items():
        empty = sorted(name for name in classes if (split, name) not in counts)
        if empty:
            where = f" in {split}" if layout.splits is not None else ""
            layout.warnings.append(f"{counted(len(empty), 'class folder')}{where} without a picture: "
                                   f"{first_names(empty)}; left out.")
