from __future__ import annotations

import subprocess
import sys

import vitrail

NAMES = [
    "Answer",
    "Augmentation",
    "Bundle",
    "BundleError",
    "DataError",
    "Evaluation",
    "ImageError",
    "Preprocess",
    "Recipe",
    "Source",
    "Split",
    "UsageError",
    "ViT",
    "ViTConfig",
    "VitrailError",
    "compare",
    "create",
    "describe",
    "evaluate",
    "load",
    "open_source",
    "probe",
    "train",
]


def test_the_public_names_are_these_and_each_exists() -> None:
    assert vitrail.__all__ == NAMES == sorted(NAMES)
    for name in NAMES:
        assert getattr(vitrail, name).__doc__, f"{name} has no docstring"


def test_importing_vitrail_imports_nothing_heavy() -> None:
    code = "import sys, vitrail; print([m for m in ('torch', 'numpy', 'pydantic', 'rich') if m in sys.modules])"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout.strip() == "[]"
