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

    def heads(self) -> Iterator[Recorded]:
        """Each head by itself, so that the maps of one are all that must be held."""
        for head in range(self.queries.shape[1]):
            part, bias = slice(head, head + 1), self.bias
            if bias is not None and bias.dim() >= 3 and bias.shape[-3] > 1:
                bias = bias[..., part, :, :]
            yield Recorded(self.queries[:, part], self.keys[:, part], self.values[:, part], bias)

    def mean_weights(self) -> Tensor:
        """The mean of all heads' weights, [batch, tokens, others], summed one by one."""
        heads = self.heads()
        total = next(heads).weights()[:, 0]
        for head in heads:
            total += head.weights()[:, 0]
        return total / self.queries.shape[1]


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
    with ExitStack() as hooks:
        for name, core in cores(model):
            hooks.enter_context(core.register_forward_pre_hook(seen_by(see, name), with_kwargs=True))
        yield


def seen_by(see: Callable[[str, Recorded], None], name: str) -> Any:
    def before(module: nn.Module, given: tuple[Any, ...], named: dict[str, Any]) -> None:
        queries, keys, values, bias = entered(given, named)
        see(name, Recorded(queries.detach(), keys.detach(), values.detach(), None if bias is None else bias.detach()))

    return before


@contextmanager
def weighted(model: nn.Module, see: Callable[[str, Tensor], None]) -> Iterator[None]:
    """The weights of every call of an AttentionCore, [batch, heads, tokens, others] in float32, by the module's name.
    What leaves the core is computed from them, in place of what its kernel gave, so that the answer has a gradient
    with respect to each. Hooks are always removed. Raises UsageError for a compiled model.
    """
    with ExitStack() as hooks:
        for name, core in cores(model):
            hooks.enter_context(core.register_forward_hook(through_weights(see, name), with_kwargs=True))
        yield


def through_weights(see: Callable[[str, Tensor], None], name: str) -> Any:
    def after(module: nn.Module, given: tuple[Any, ...], named: dict[str, Any], left: Tensor) -> Tensor:
        queries, keys, values, bias = entered(given, named)
        weights = attention_weights(queries.float(), keys.float(), None if bias is None else bias.float())
        if not weights.requires_grad:  # nothing in front of it learns
            weights.requires_grad_()
        see(name, weights)
        return (weights @ values.float()).to(left.dtype)

    return after


def entered(given: tuple[Any, ...], named: dict[str, Any]) -> tuple[Tensor, Tensor, Tensor, Tensor | None]:
    """Queries, keys, values and bias of one call of an AttentionCore."""
    call = dict(zip(("queries", "keys", "values", "bias"), given, strict=False)) | named
    return call["queries"], call["keys"], call["values"], call.get("bias")


def cores(model: nn.Module) -> list[tuple[str, AttentionCore]]:
    """Every attention core by its name, in the order of the model. Raises UsageError for a compiled model."""
    if hasattr(model, "_orig_mod"):
        raise UsageError("Inspection needs the eager model, and this one is compiled. Give the model as it was before "
                         "torch.compile (compiled._orig_mod).")
    return [(name, module) for name, module in model.named_modules() if isinstance(module, AttentionCore)]


@contextmanager
def outputs(model: nn.Module, names: Iterable[str], see: Callable[[str, Tensor], None]) -> Iterator[None]:
    """What leaves each of the modules with these names, as it passes. Hooks are always removed."""
    with ExitStack() as hooks:
        for name in names:
            module = model.get_submodule(name)
            hooks.enter_context(module.register_forward_hook(
                lambda _, __, left, name=name: see(name, left.detach())))
        yield
