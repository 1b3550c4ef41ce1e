"""What autograd keeps of a forward pass, measured from outside."""

from __future__ import annotations

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
    return (held_by_batch(model, config, 2 * batch) - held_by_batch(model, config, batch)) / batch


def held_by_batch(model: torch.nn.Module, config: ModelConfig, batch: int) -> int:
    kept: dict[int, torch.UntypedStorage] = {}

    def pack(tensor: torch.Tensor) -> torch.Tensor:
        storage = tensor.untyped_storage()
        kept[storage.data_ptr()] = storage  # held, so that no address is used twice
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        model(pictures(config, batch).bfloat16())
    return sum(storage.nbytes() for storage in kept.values())
