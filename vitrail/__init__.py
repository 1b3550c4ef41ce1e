"""Vitrail: Vision Transformers from your images to an answer you can look through.

    bundle = vitrail.load("runs/first")            # a trained model with all that an answer needs
    bundle.predict("cat.jpg")                      # [[Answer(name='cat', index=0, probability=0.97), ...]]
    model = vitrail.create("B/16", classes=10)     # an untrained torch.nn.Module
    vitrail.evaluate("runs/first", "photos/")      # accuracy with its interval, per class, calibration
    vitrail.train("photos/", "runs/second")        # what the command `vitrail train photos/` does
    vitrail.probe("runs/first", "digits")          # what its frozen features are worth on other images
    vitrail.compare("runs/first", "runs/second")   # what differed, what came out, and what may be said of it

The map of the house is docs/map.md: Source -> views -> batches -> training loop -> Bundle -> evaluate, inspect, report.
Names are imported when first used, so that `import vitrail` costs nothing.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from vitrail.api import evaluate, load, probe, train
    from vitrail.bundle import Answer, Bundle
    from vitrail.comparison import compare
    from vitrail.data.augment import Augmentation
    from vitrail.data.preprocess import Preprocess
    from vitrail.data.source import Source, Split, open_source
    from vitrail.errors import BundleError, DataError, ImageError, UsageError, VitrailError
    from vitrail.evaluation import Evaluation
    from vitrail.models import ViT, ViTConfig, create, describe
    from vitrail.recipe import Recipe

__version__ = "0.1.0"

__all__ = [
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

HOMES = {
    "vitrail.api": ("evaluate", "load", "probe", "train"),
    "vitrail.bundle": ("Answer", "Bundle"),
    "vitrail.comparison": ("compare",),
    "vitrail.data.augment": ("Augmentation",),
    "vitrail.data.preprocess": ("Preprocess",),
    "vitrail.data.source": ("Source", "Split", "open_source"),
    "vitrail.errors": ("BundleError", "DataError", "ImageError", "UsageError", "VitrailError"),
    "vitrail.evaluation": ("Evaluation",),
    "vitrail.models": ("ViT", "ViTConfig", "create", "describe"),
    "vitrail.recipe": ("Recipe",),
}


def __getattr__(name: str) -> Any:
    for home, names in HOMES.items():
        if name in names:
            return getattr(importlib.import_module(home), name)
    raise AttributeError(f"module 'vitrail' has no attribute {name!r}")


def __dir__() -> list[str]:
    return __all__
