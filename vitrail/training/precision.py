"""In which numbers to compute.

bf16 keeps fp32 master weights: the model computes in bf16 throughout, gradients are added up in fp32, the optimizer
moves the masters, and the model gets a rounded copy. Compared with autocast this saves the casts around every layer.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from typing import Literal

import torch
from torch import Tensor, nn

from vitrail.native import norm
from vitrail.training.parallel.parts import like, local, whole
from vitrail.training.rounding import RoundingAdamW

Precision = Literal["bf16", "fp32"]
DTYPES: dict[Precision, torch.dtype] = {"bf16": torch.bfloat16, "fp32": torch.float32}


class Weights:
    """The parameters that the optimizer moves, and the model's copy of them in the type that computes.

    In fp32 both are the same tensors, and where parameters are `sharded` over processes, which round them when they
    gather them. Only parameters that require gradients take part; of the others the fp32 values are kept aside, since
    they leave the run as they came, but not of the `follower`, which is an average of these.
    `native`: kernels of our own measure gradients and round masters, where these are kept apart.
    """

    def __init__(self, module: nn.Module, precision: Precision, *, sharded: bool = False,
                 follower: nn.Module | None = None, native: bool = False) -> None:
        self.module = module
        named = [(name, p) for name, p in module.named_parameters() if p.requires_grad]
        self.names = [name for name, _ in named]
        self.copies = [p for _, p in named]
        self.sharded = sharded
        self.separate = precision != "fp32" and not sharded
        self.native = native and self.separate
        followed = set(map(id, follower.parameters())) if follower is not None else set()
        self.frozen = {id(p): p.detach().float().clone() for p in module.parameters()
                       if self.separate and not p.requires_grad and id(p) not in followed}
        self.masters: list[Tensor] = list(self.copies)
        if self.separate:
            self.masters = [p.detach().float().clone() for p in self.copies]
            module.to(DTYPES[precision])

    def named_masters(self) -> Iterator[tuple[str, Tensor]]:
        return zip(self.names, self.masters, strict=True)

    @property
    def rounded(self) -> dict[int, Tensor] | None:
        """The copies by their masters' ids, for an optimizer that is to round; None where torch computes."""
        return dict(zip(map(id, self.masters), self.copies, strict=True)) if self.native else None

    def collect_gradients(self) -> None:
        """Add the copies' gradients to the masters' in fp32, and drop the former."""
        if not self.separate:
            return
        for master, copy in zip(self.masters, self.copies, strict=True):
            if copy.grad is None:
                continue
            master.grad = copy.grad.float() if master.grad is None else master.grad.add_(copy.grad)
            copy.grad = None

    @torch.no_grad()
    def gradients(self) -> list[Tensor]:
        """The masters' gradients, or this process's parts of them."""
        return [local(master.grad) for master in self.masters if master.grad is not None]

    def gradient_norm(self) -> float:
        gradients = self.gradients()
        return norm(gradients) if self.native else float(
            torch.linalg.vector_norm(torch.stack(torch._foreach_norm(gradients))))

    def move(self, optimizer: torch.optim.Optimizer, scale: float = 1.0) -> None:
        """One step by the gradients times `scale`; the copies follow."""
        if isinstance(optimizer, RoundingAdamW):
            optimizer.scale = scale
            optimizer.step()
            return
        if scale != 1:
            torch._foreach_mul_(self.gradients(), scale)
        optimizer.step()
        self.publish()

    def hold(self, names: Collection[str]) -> None:
        """Drop the gradients of some, so that an optimizer leaves them as they are."""
        for name, master in self.named_masters() if names else ():
            if name in names:
                master.grad = None

    def clear_gradients(self) -> None:
        for master in self.masters:
            master.grad = None

    @torch.no_grad()
    def publish(self) -> None:
        """Round the masters into the model's copies."""
        if self.separate:
            torch._foreach_copy_([copy.data for copy in self.copies], self.masters)

    @torch.no_grad()
    def restore(self, values: dict[str, Tensor]) -> None:
        """Set the masters by name, and the copies with them; a master that is sharded takes its part."""
        for name, master in self.named_masters():
            master.copy_(like(values[name], master))
        self.publish()

    def export(self, module: nn.Module, values: Sequence[Tensor] | None = None) -> dict[str, Tensor]:
        """The fp32 state of `module`, a part of the whole: its own values where nothing is trained. `values` stand in
        for the masters, in their order. Where parameters are sharded, all processes call this and all get all."""
        trained = zip(self.copies, self.masters if values is None else values, strict=True)
        exact = self.frozen | {id(copy): value for copy, value in trained}
        return {name: whole(exact.get(id(value), value).detach()).float().clone()
                for name, value in module.state_dict(keep_vars=True).items()}
