"""Every process has the whole model and a part of each batch; gradients are averaged while they are computed (DDP).

Gradients are added up in fp32. A model that computes in bf16 has its bf16 gradients added to what earlier parts of the
batch left in the fp32 masters, and this sum travels: once a batch, however many parts it has.
"""

from __future__ import annotations

import contextlib
from typing import Any

import torch
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from vitrail.training.parallel.world import World
from vitrail.training.precision import Weights


def replicate(objective: nn.Module, weights: Weights, world: World) -> nn.Module:
    """The module to call in training. One process by itself calls the objective."""
    if world.size == 1:
        return objective
    replica = DistributedDataParallel(objective)
    if weights.separate:
        masters = dict(zip(map(id, weights.copies), weights.masters, strict=True))
        # Through a lambda, since torch compares a hook's annotations with types, and ours are words.
        replica.register_comm_hook(masters, lambda state, bucket: averaged_in_masters(state, bucket))
    return replica


def unshared(replica: nn.Module, last: bool) -> contextlib.AbstractContextManager[Any]:
    """Around forward and backward of one part of a batch: gradients are averaged in the `last` one alone."""
    return contextlib.nullcontext() if last or not isinstance(replica, DistributedDataParallel) else replica.no_sync()


@torch.no_grad()
def averaged_in_masters(masters: dict[int, torch.Tensor], bucket: Any) -> torch.futures.Future[torch.Tensor]:
    """A communication hook of DDP: puts the mean gradients into the masters, and zeros into the copies."""
    import torch.distributed as dist

    own = [masters[id(copy)] for copy in bucket.parameters()]
    sums = [gradient.float() if master.grad is None else master.grad + gradient
            for master, gradient in zip(own, bucket.gradients(), strict=True)]
    flat = torch.cat([one.flatten() for one in sums]).div_(dist.get_world_size())

    @torch.no_grad()
    def received(future: Any) -> torch.Tensor:
        pieces = flat.split([master.numel() for master in own])
        for master, piece in zip(own, pieces, strict=True):
            master.grad = piece.view_as(master)
        return bucket.buffer().zero_()

    return dist.all_reduce(flat, async_op=True).get_future().then(received)
