"""Records what enters every attention core while a model runs, from outside: the model knows nothing of it.

    with record(bundle.model) as trace:
        bundle.logits(raw)
    trace["encoder.blocks.0.attention.core"].weights()

The maps are computed again from the queries and keys, so the model keeps its fused kernel, which has none to give.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn

from vitrail.errors import UsageError
from vitrail.models.vit.attention import AttentionCore, attention_weights


@dataclass(frozen=True)
class Recorded:
    """What entered one attention core: `queries` [batch, heads, tokens, head_width], `keys` [batch, heads, others,
    head_width], both after any rotation, and the `bias` on their scores, [.., tokens, others], or None."""

    queries: Tensor
    keys: Tensor
    bias: Tensor | None

    def weights(self, queries: slice = slice(None)) -> Tensor:
        """How much the chosen queries attend to each key, [batch, heads, chosen, others]; rows sum to one."""
        bias = None if self.bias is None else self.bias[..., queries, :].float()
        return attention_weights(self.queries[:, :, queries].float(), self.keys.float(), bias)


@contextmanager
def record(model: nn.Module) -> Iterator[dict[str, Recorded]]:
    """The last call of every AttentionCore by the module's name, in the order of the model. Hooks are always removed.

    A compiled model may skip hooks without a word, so its eager original is asked for: raises UsageError.
    """
    if hasattr(model, "_orig_mod"):
        raise UsageError("Inspection needs the eager model, and this one is compiled. Give the model as it was before "
                         "torch.compile (compiled._orig_mod).")
    trace: dict[str, Recorded] = {}
    with ExitStack() as hooks:
        for name, module in model.named_modules():
            if isinstance(module, AttentionCore):
                hooks.enter_context(module.register_forward_pre_hook(recorder(trace, name), with_kwargs=True))
        yield trace


def recorder(trace: dict[str, Recorded], name: str) -> Any:
    def before(module: nn.Module, given: tuple[Any, ...], named: dict[str, Any]) -> None:
        call = dict(zip(("queries", "keys", "values", "bias"), given, strict=False)) | named
        bias = call.get("bias")
        trace[name] = Recorded(call["queries"].detach(), call["keys"].detach(),
                               None if bias is None else bias.detach())

    return before
