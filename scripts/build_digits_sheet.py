"""Build the embedded digits from scikit-learn's `load_digits` (1,797 pictures of 8 x 8, values 0 to 16).

    python scripts/build_digits_sheet.py [--check]

A value v becomes the grey level (v * 255 + 8) // 16, the nearest whole number to v * 255 / 16; it can be undone.
The data set has no split of its own. Consecutive pictures come from the same writers, so a random split would put
one person's hand on both sides: the last fifth of each class is the test split.
Cost: a second. Result: two sheets, about 50 kB.
"""

from __future__ import annotations

import argparse
import sys

import numpy as np
from sklearn.datasets import load_digits

from vitrail.data.sources.sheets import EMBEDDED, Pictures, pixel_checksum, read_sheets, write_sheets


def digits_splits() -> dict[str, Pictures]:
    digits = load_digits()
    images = ((digits.images.astype(np.int64) * 255 + 8) // 16).astype(np.uint8)
    labels = digits.target.astype(np.int64)
    held_out = np.zeros(len(labels), bool)
    for label in range(10):
        members = np.flatnonzero(labels == label)
        held_out[members[len(members) - round(len(members) / 5):]] = True
    parts = {"train": np.flatnonzero(~held_out), "test": np.flatnonzero(held_out)}
    return {name: Pictures(images[part], labels[part], part) for name, part in parts.items()}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true")
    arguments = parser.parse_args()
    splits, folder = digits_splits(), EMBEDDED / "digits"
    if arguments.check:
        same = read_sheets(folder)[2] == pixel_checksum(splits)
        print("the sheets equal the originals" if same else "the sheets differ from the originals")
        return 0 if same else 1
    print(f"{folder}: pixel checksum {write_sheets(folder, splits, [str(d) for d in range(10)], 60, by_class=False)}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
