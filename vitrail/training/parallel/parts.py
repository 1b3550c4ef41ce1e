"""Tensors of which this process may hold only a part (DTensors of FSDP2), without the import that makes them."""

from __future__ import annotations

from typing import Any

from torch import Tensor


def local(value: Tensor) -> Tensor:
    """This process's part of a sharded tensor, in the same memory; another tensor as it is."""
    part: Tensor = value.to_local() if hasattr(value, "to_local") else value
    return part


def whole(value: Tensor) -> Tensor:
    """All of a sharded tensor (collective); another tensor as it is."""
    return value.full_tensor() if hasattr(value, "full_tensor") else value


def like(value: Tensor, pattern: Any) -> Tensor:
    """A whole tensor cut as `pattern` is."""
    if not hasattr(pattern, "to_local") or hasattr(value, "to_local"):
        return value
    from torch.distributed.tensor import distribute_tensor

    return distribute_tensor(value.to(pattern.device), pattern.device_mesh, pattern.placements, src_data_rank=None)
