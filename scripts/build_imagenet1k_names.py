"""Build the names of ImageNet-1k's classes, in the order of every published head, from a timm wheel.

    pip download --no-deps timm && unzip timm-*.whl -d timm
    python scripts/build_imagenet1k_names.py timm/timm/data/_info [--check]

A class is a WordNet synset; its name is the first word of it, unless another class has the same one.
Cost: nothing. Result: 1,000 distinct lines, 11 kB.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from vitrail.weights.class_names import NAMES

TOLD_APART = {134: "crane (bird)", 264: "Cardigan Welsh corgi", 517: "crane (machine)", 639: "tank suit"}
"""Beside 474, the cardigan that is worn, and 638, the maillot."""


def class_names(folder: Path) -> list[str]:
    lines = (folder / "imagenet_synset_to_lemma.txt").read_text(encoding="utf-8").splitlines()
    words = dict(line.split("\t", 1) for line in lines)
    synsets = (folder / "imagenet_synsets.txt").read_text(encoding="utf-8").split()
    return [TOLD_APART.get(index, words[synset].split(", ")[0]) for index, synset in enumerate(synsets)]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--check", action="store_true")
    arguments = parser.parse_args()
    text = "\n".join(class_names(arguments.folder)) + "\n"
    if arguments.check:
        same = NAMES.read_text(encoding="utf-8") == text
        print("the same" if same else "different")
        return 0 if same else 1
    NAMES.write_text(text, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
