from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from tiny_models import pictures, tiny
from torch.utils._python_dispatch import TorchDispatchMode

from vitrail.bundle import Bundle
from vitrail.data.preprocess import Preprocess
from vitrail.inspection import attention_distance, record, rollout
from vitrail.inspection.health import health
from vitrail.inspection.lens import encoded

PATCHES = 32 * 32
TOKENS = 1 + PATCHES


class Largest(TorchDispatchMode):
    """How many numbers the largest tensor has that an operation gave."""

    numbers = 0

    def __torch_dispatch__(self, operation: Any, types: Any, given: Any = (), named: Any = None) -> Any:
        left = operation(*given, **(named or {}))
        for tensor in left if isinstance(left, (tuple, list)) else (left,):
            if isinstance(tensor, torch.Tensor):
                self.numbers = max(self.numbers, tensor.numel())
        return left


def subject(images: int) -> tuple[Bundle, torch.Tensor]:
    """1,024 patches of a narrow model, so that maps outweigh features."""
    return Bundle(tiny(image_size=(128, 128), heads=8), Preprocess(size=(128, 128))), pictures(images, (128, 128))


@pytest.mark.parametrize("look", [attention_distance, rollout, health], ids=["distance", "rollout", "health"])
def test_no_more_is_held_than_the_maps_of_one_head_for_one_batch(look: Callable[..., object]) -> None:
    bundle, raw = subject(3)
    with Largest() as seen:
        look(bundle, raw, 2)
    assert PATCHES**2 <= seen.numbers <= 2 * TOKENS**2


def test_the_maps_of_all_heads_would_be_noticed() -> None:
    bundle, raw = subject(1)
    with record(bundle.model) as trace, Largest() as seen:
        encoded(bundle, raw)
        trace["encoder.blocks.0.attention.core"].weights()
    assert seen.numbers == 8 * TOKENS**2
