"""A loss or gradient that is not finite ends the run before the weights have changed, with the pictures' names."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import nn

from vitrail.errors import DivergedError
from vitrail.training.compiled import eagerly
from vitrail.training.parallel import SOLO, World
from vitrail.training.precision import Weights
from vitrail.vocabulary import Batch

SHOWN = 5


def refuse_non_finite(step: int, objective: nn.Module, batch: Batch, weights: Weights, parts: dict[str, float],
                      norm: float, names: Sequence[str] | None = None, world: World = SOLO) -> None:
    """Raises DivergedError where one of `parts` or the norm of the gradient is not finite (collective).

    It names the pictures of the batch by `names`, or those alone that have such a loss by themselves.
    """
    wrong = [name for name, value in parts.items() if not math.isfinite(value)]
    if not math.isfinite(norm):
        bad = [name for name, master in zip(weights.names, weights.masters, strict=True)
               if not weights.sharded and master.grad is not None and not bool(master.grad.isfinite().all())]
        wrong.append(f"the gradient{' of ' if bad else ''}{listed(bad)}")
    if not wrong:
        return
    alone = bad_by_themselves(objective, batch) if world.size == 1 else []  # others would have to compute with it
    indices = alone or [index for part in world.gathered(batch.indices.tolist()) for index in part]
    pictures = listed([names[index] if names is not None else f"number {index}" for index in indices])
    which = f"It is not finite for {pictures} alone, whatever else is in the batch" if alone else (
        f"The batch held {pictures}")
    raise DivergedError(
        f"Step {step + 1}: {' and '.join(wrong)} is not finite; the weights were not changed. {which}. Use a lower "
        "learning rate, a longer warmup or --set training.precision=fp32 in a new run with another --out: this one "
        "would do the same again.")


@torch.no_grad()
def bad_by_themselves(objective: nn.Module, batch: Batch) -> list[int]:
    """Indices of the pictures whose own loss is not finite; none where that is true of all."""
    bad = []
    for place, index in enumerate(batch.indices.tolist()):
        here = slice(place, place + 1)
        one = Batch({name: view[here] for name, view in batch.views.items()}, batch.targets[here], batch.indices[here],
                    batch.positions[here])
        with eagerly(True):  # another size of batch is not worth a compilation
            if not bool(objective(one).total.isfinite()):
                bad.append(index)
    return bad if len(bad) < len(batch.indices) else []


def listed(names: Sequence[str]) -> str:
    return ", ".join(names[:SHOWN]) + (f" and {len(names) - SHOWN} more" if len(names) > SHOWN else "")
