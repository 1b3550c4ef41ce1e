"""What autograd keeps of a forward pass, measured from outside."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import torch

from models.small import awake, pictures
from vitrail.models import ModelConfig
from vitrail.models.vit.attention import AttentionCore


def held_bytes(config: ModelConfig, kernel: Any = "products", batch: int = 4) -> float:
    """Bytes that autograd keeps for one image in bf16, shared memory once. Parameters and what is made of them alone
    do not grow with the batch, and are not counted."""
    model = awake(config).bfloat16().train()
    for part in model.modules():
        if isinstance(part, AttentionCore):
            part.kernel = kernel
    return each(lambda count: model(pictures(config, count).bfloat16()), batch)


def each(forward: Callable[[int], object], batch: int) -> float:
    """Bytes that autograd keeps for one image of a `forward` pass of so many, shared memory once."""
    return (held_by(partial(forward, 2 * batch)) - held_by(partial(forward, batch))) / batch


def held_by(forward: Callable[[], object]) -> int:
    kept: dict[int, torch.UntypedStorage] = {}

    def pack(tensor: torch.Tensor) -> torch.Tensor:
        storage = tensor.untyped_storage()
        kept[storage.data_ptr()] = storage  # held, so that no address is used twice
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        result = forward()
    del result
    return sum(storage.nbytes() for storage in kept.values())
