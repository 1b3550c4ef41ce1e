"""Files as others publish them, made from the reference values: every prefix, numbering and way to store."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import torch
from torch import Tensor

from vitrail.models.convolution import StandardizedConv

GOLDEN = Path(__file__).parents[1] / "golden"
OFFICIAL = ("vit_token", "vit_token_prelogits", "vit_gap_linen_names", "hybrid_two_stages")
BIG_VISION = ("big_vision_gap_sincos", "big_vision_map")
FORMAT = dict.fromkeys(OFFICIAL, "official") | dict.fromkeys(BIG_VISION, "big_vision")

Arrays = dict[str, np.ndarray]
Value = TypeVar("Value")


def arrays_of(name: str) -> Arrays:
    return dict(np.load(GOLDEN / f"{name}.npz"))


def expected_of(name: str) -> dict[str, Tensor]:
    """What was put in and came out; images as [batch, 3, height, width]."""
    values = {key: torch.from_numpy(value) for key, value in np.load(GOLDEN / f"{name}.io.npz").items()}
    return {key: value.permute(0, 3, 1, 2) if key.startswith("images") else value for key, value in values.items()}


def saved(folder: Path, arrays: Arrays, name: str = "weights.dat") -> Path:
    """Under a name that says nothing."""
    path = folder / name
    with open(path, "wb") as file:
        np.savez(file, **arrays)
    return path


def prefixed(arrays: Arrays, prefix: str) -> Arrays:
    return {prefix + key.removeprefix("params/"): value for key, value in arrays.items()}


def renumbered(arrays: Arrays) -> Arrays:
    """From one numbering of a block's parts to the other."""
    pairs = (("LayerNorm_2", "LayerNorm_1"), ("MlpBlock_3", "MlpBlock_0"),
             ("MultiHeadDotProductAttention_1", "MultiHeadDotProductAttention_0"))
    forward = any("MlpBlock_3" in key for key in arrays)
    result = {}
    for key, value in arrays.items():
        if "encoderblock_" in key:
            for old, new in pairs:
                key = key.replace(*((old, new) if forward else (new, old)))
        result[key] = value
    return result


def scanned(arrays: Arrays) -> Arrays:
    """All layers of a kind in one array."""
    layers: dict[str, list[tuple[int, np.ndarray]]] = {}
    result = {}
    for key, value in arrays.items():
        if "encoderblock_" not in key:
            result[key] = value
            continue
        front, rest = key.split("encoderblock_")
        number, part = rest.split("/", 1)
        layers.setdefault(f"{front}encoderblock/{part}", []).append((int(number), value))
    return result | {key: np.stack([value for _, value in sorted(parts, key=lambda one: one[0])])
                     for key, parts in layers.items()}


def in_bf16(arrays: Arrays) -> tuple[Arrays, Arrays]:
    """As two bytes of void, and the float32 values that these stand for (cut off, not rounded)."""
    halves = {key: (value.view(np.uint32) >> 16).astype(np.uint16) for key, value in arrays.items()}
    values = {key: (value.astype(np.uint32) << 16).view(np.float32) for key, value in halves.items()}
    return {key: value.view("V2") for key, value in halves.items()}, values


def changed(held: Mapping[str, Value], change: Mapping[str, tuple[int, ...] | None],
            zeros: Callable[[tuple[int, ...]], Value]) -> dict[str, Value]:
    """With some left out (None), and others put there or given another shape."""
    kept = {name: value for name, value in held.items() if change.get(name, ()) is not None}
    return kept | {name: zeros(shape) for name, shape in change.items() if shape is not None}


@torch.no_grad()
def faint(model: Any, deviation: float) -> Any:
    """Standardized kernels made so small that the epsilon beside their variance decides."""
    for part in model.modules():
        if isinstance(part, StandardizedConv):
            part.weight.mul_(deviation / part.weight.std())
    return model


def assert_agree(ours: Tensor, theirs: Tensor, relative: float = 1e-5) -> None:
    """To this part of the largest number. What was measured is kept where scripts/measure_weights.py wants it."""
    assert ours.shape == theirs.shape
    largest, off = float(theirs.abs().max()), float((ours - theirs).abs().max())
    if kept := os.environ.get("VITRAIL_MEASURED"):
        with open(kept, "a", encoding="utf-8") as file:
            file.write(f"{os.environ['PYTEST_CURRENT_TEST']}\t{off / largest}\n")
    assert off <= relative * largest
