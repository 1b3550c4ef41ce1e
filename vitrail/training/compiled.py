"""torch.compile of the parts that repeat: one block is compiled, and the others are found to be the same.

Compiling block by block takes a small part of the time that the whole model would, and leaves the module as it is:
names, hooks, checkpoints and Bundles see the plain one. Only training uses the compiled code.
"""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator

import torch
from torch import nn

from vitrail.errors import RunError
from vitrail.training.optimizer import REPEATED

VARIANTS = 8
"""How often one block may be compiled anew: another batch, gradients or none, the last block's few tokens."""


def compile_blocks(model: nn.Module, backend: str = "inductor") -> list[str]:
    """Have every block of a transformer and every unit of a ResNet compiled when it is first called; returns them."""
    blocks = {name: part for name, part in model.named_modules()
              if (found := REPEATED.search(f"{name}.")) and found.end() == len(name) + 1}
    for block in blocks.values():
        # Each kind of block counts: those with an adapter are of a class of their own each.
        block.compile(backend=backend, recompile_limit=VARIANTS + len(blocks))
    return list(blocks)


@contextlib.contextmanager
def eagerly(compiled: bool) -> Iterator[None]:
    """Within it compiled blocks compute as they are written; nothing where nothing is `compiled`."""
    with torch.compiler.set_stance("force_eager") if compiled else contextlib.nullcontext():
        yield


@contextlib.contextmanager
def compiler_in_words() -> Iterator[None]:
    """Raises RunError in place of what torch's compiler raises where it cannot work on this machine."""
    try:
        yield
    except RuntimeError as error:
        dynamo = sys.modules.get("torch._dynamo.exc")  # takes a second to import, and nobody compiled without it
        if dynamo is None or not isinstance(error, dynamo.BackendCompilerFailed):
            raise
        reason = str(error).splitlines()[0]
        missing = ("there is no C++ compiler. Install one (apt install g++, or name it in the variable CXX)"
                   if "InvalidCxxCompiler" in reason else f"{reason}. It needs a C++ compiler that works, and Triton "
                   "for a GPU")
        raise RunError(f"torch cannot compile the model on this machine: {missing}, or compute without: "
                       "--set training.compile=false") from error
