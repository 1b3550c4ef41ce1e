"""ImageNet-1k's class names, for published heads of a thousand outputs whose files have none."""

from __future__ import annotations

from functools import cache
from pathlib import Path

NAMES = Path(__file__).with_name("imagenet1k.txt")
"""One a line in the order of the heads; built by scripts/build_imagenet1k_names.py, license in licenses/."""

SAID = "A head of 1,000 outputs without names is taken for ImageNet-1k's, in the usual order."


@cache
def imagenet1k() -> tuple[str, ...]:
    return tuple(NAMES.read_text(encoding="utf-8").splitlines())
