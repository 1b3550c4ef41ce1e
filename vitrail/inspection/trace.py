"""Records what enters every attention core while a model runs, from outside: the model knows nothing of it.

    with record(bundle.model) as trace:
        bundle.logits(raw)
    trace["encoder.blocks.0.attention.core"].weights()

    with observe(bundle.model, see): ...     each layer as it passes, and nothing kept

The maps are computed again from the queries and keys, so the model keeps its fused kernel, which has none to give.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn

from vitrail.errors import UsageError
from vitrail.models.vit.attention import AttentionCore, attention_weights


@dataclass(frozen=True)
class Recorded:
    """What entered one attention core: `queries` [batch, heads, tokens, head_width], `keys` and `values` [batch, heads,
    others, head_width], queries and keys after any rotation, and the `bias` on their scores, [.., tokens, others], or
    None."""

    queries: Tensor
    keys: Tensor
    values: Tensor
    bias: Tensor | None

    def weights(self, queries: slice = slice(None), keys: slice = slice(None)) -> Tensor:
        """How much the chosen queries attend to each of the chosen keys, [batch, heads, chosen, others]; rows sum to
        one. Where keys are left out, the others share what went to them."""
        bias = None if self.bias is None else self.bias[..., queries, keys].float()
        return attention_weights(self.queries[:, :, queries].float(), self.keys[:, :, keys].float(), bias)


@contextmanager
def record(model: nn.Module) -> Iterator[dict[str, Recorded]]:
    """The last call of every AttentionCore by the module's name, in the order of the model."""
    trace: dict[str, Recorded] = {}
    with observe(model, trace.__setitem__):
        yield trace


@contextmanager
def observe(model: nn.Module, see: Callable[[str, Recorded], None]) -> Iterator[None]:
    """Every call of an AttentionCore, by the module's name, just before it computes. Hooks are always removed.

    A compiled model may skip hooks without a word, so its eager original is asked for: raises UsageError.
    """
    if hasattr(model, "_orig_mod"):
        raise UsageError("Inspection needs the eager model, and this one is compiled. Give the model as it was before "
                         "torch.compile (compiled._orig_mod).")
    with ExitStack() as hooks:
        for name, module in model.named_modules():
            if isinstance(module, AttentionCore):
                hooks.enter_context(module.register_forward_pre_hook(seen_by(see, name), with_kwargs=True))
        yield


def seen_by(see: Callable[[str, Recorded], None], name: str) -> Any:
    def before(module: nn.Module, given: tuple[Any, ...], named: dict[str, Any]) -> None:
        call = dict(zip(("queries", "keys", "values", "bias"), given, strict=False)) | named
        bias = call.get("bias")
        see(name, Recorded(call["queries"].detach(), call["keys"].detach(), call["values"].detach(),
                           None if bias is None else bias.detach()))

    return before


@contextmanager
def outputs(model: nn.Module, names: Iterable[str], see: Callable[[str, Tensor], None]) -> Iterator[None]:
    """What leaves each of the modules with these names, as it passes. Hooks are always removed."""
    with ExitStack() as hooks:
        for name in names:
            module = model.get_submodule(name)
            hooks.enter_context(module.register_forward_hook(
                lambda _, __, left, name=name: see(name, left.detach())))
        yield
