"""Every process has a part of each parameter, gradient and moment (FSDP2), for models that do not fit on one device.

A block's parameters are gathered when it computes, in the type that computes, and given back after it; its gradients
are added up in fp32 and scattered. What a process keeps is its part of the fp32 masters.
"""

from __future__ import annotations

import re

import torch
from torch import nn

from vitrail.training.parallel.world import World
from vitrail.training.precision import DTYPES, Precision

BLOCK = re.compile(r"(?:^|\.)(?:blocks\.\d+|stages\.\d+\.\d+)$")
"""Names of modules that are gathered one at a time: blocks of a transformer, units of a ResNet."""


def shard(objective: nn.Module, precision: Precision, world: World) -> None:
    """Cut the parameters of every block, and of what is between them, into one part for each process, in place."""
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.fsdp import MixedPrecisionPolicy, fully_shard

    mesh = init_device_mesh(world.device.type, (world.size,))
    kind = DTYPES[precision]
    policy = MixedPrecisionPolicy(param_dtype=kind, reduce_dtype=torch.float32, cast_forward_inputs=False)
    empty = {parameter for parameter in objective.parameters() if not parameter.numel()}  # a model without registers
    for whole in (*objective.buffers(), *empty):
        if whole.is_floating_point():
            whole.data = whole.data.to(kind)
    blocks = [module for name, module in objective.named_modules() if BLOCK.search(name)]
    for module in (*blocks, objective):
        fully_shard(module, mesh=mesh, mp_policy=policy, ignored_params=empty)
