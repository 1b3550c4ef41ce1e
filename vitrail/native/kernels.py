"""The kernels as differentiable functions of torch."""

from __future__ import annotations

import ctypes
import math
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from vitrail.native import build

LANES = 16
PARTS = 64
"""Into how many sums the rows of a gradient are divided: so that it does not hang on the number of threads."""


def kernels() -> ctypes.CDLL | None:
    """The compiled kernels, or None where there are none."""
    found = build.library(build.TRAINING)
    return None if isinstance(found, str) else found


def trouble() -> str:
    """Why there are no kernels on this machine; "" where there are."""
    found = build.library(build.TRAINING)
    return found if isinstance(found, str) else ""


def takes(values: Tensor, head: int = LANES) -> bool:
    """Whether there are kernels for it: bf16 or fp32 on a processor, rows (and heads of so many numbers) in sixteens,
    and nothing that looks into the operations (torch.compile, export)."""
    return (values.dtype in (torch.bfloat16, torch.float32) and values.device.type == "cpu"
            and values.shape[-1] % LANES == 0 and head % LANES == 0 and values.numel() > 0 and not is_watched()
            and kernels() is not None)


def is_watched() -> bool:
    """By something that would not see what a function of ours does."""
    return torch.compiler.is_compiling() or torch.jit.is_tracing()  # type: ignore[attr-defined]


def attention(qkv: Tensor, bias: Tensor | None, heads: int) -> Tensor:
    """softmax(q k^T / sqrt(head)) v of qkv + bias, [batch, tokens, 3 * heads * head] as a dense layer gives it:
    [batch, tokens, heads * head]."""
    return Attention.apply(qkv, bias, heads)


def gelu(values: Tensor, bias: Tensor, tanh: bool) -> Tensor:
    """GELU of values + bias, exact or by the tanh of the paper's code."""
    return Gelu.apply(values, bias, tanh)


def layer_norm(values: Tensor, weight: Tensor, bias: Tensor, epsilon: float) -> Tensor:
    """Over the last axis, of a width in sixteens."""
    return LayerNorm.apply(values, weight, bias, epsilon)


def without_bias(layer: nn.Module, values: Tensor) -> tuple[Tensor, Tensor | None]:
    """The product of a dense layer and the bias that is still to be added; of a layer with more to it (an adapter, a
    hook), what it gives and None."""
    if not isinstance(layer, nn.Linear) or not is_plain(layer, values):
        return layer(values), None
    return F.linear(values, layer.weight), layer.bias


def is_plain(layer: nn.Linear, values: Tensor) -> bool:
    """Nothing but a product and a bias, in the type of the values."""
    hooks = layer._forward_hooks or layer._forward_pre_hooks or layer._backward_hooks or layer._backward_pre_hooks
    alike = all(one is None or (one.dtype == values.dtype and one.device == values.device)
                for one in (layer.weight, layer.bias))
    return type(layer) is nn.Linear and not hooks and "forward" not in layer.__dict__ and alike


def call(name: str, first: Tensor, *others: Tensor | float | bool | None) -> None:
    """Tensors by their first number, and how many bytes a number of the first has. They live until the call returns,
    since the caller holds them."""
    arguments = (one.data_ptr() if isinstance(one, Tensor) else one for one in (first, *others))
    getattr(kernels(), name)(*arguments, first.element_size())


def scratch(values: Tensor, tokens: int, head: int) -> Tensor:
    compiled = kernels()
    assert compiled is not None
    return torch.empty(compiled.attention_scratch(tokens, head, values.element_size()), dtype=torch.uint8)


def flat(values: Tensor) -> tuple[int, int]:
    """Rows and width."""
    return math.prod(values.shape[:-1]), values.shape[-1]


class Attention(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, qkv: Tensor, bias: Tensor | None, heads: int) -> Tensor:
        qkv, bias = qkv.contiguous(), None if bias is None else bias.contiguous()
        batch, tokens, width = qkv.shape[0], qkv.shape[1], qkv.shape[2] // 3
        mixed = qkv.new_empty(batch, tokens, width)
        rest = torch.empty_like(mixed) if qkv.dtype == torch.bfloat16 else None  # what is lost in rounding
        logs = qkv.new_empty(batch, heads, 2, tokens, dtype=torch.float32)
        ctx.shape = shape = (batch, tokens, heads, width // heads)
        call("attention_forward", qkv, bias, mixed, rest, logs, scratch(qkv, tokens, width // heads), *shape)
        ctx.save_for_backward(qkv, bias, mixed, rest, logs)
        return mixed

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor | None, None]:
        qkv, bias, mixed, rest, logs = ctx.saved_tensors
        batch, tokens, _, head = ctx.shape
        grad, changed, sums = grad.contiguous(), torch.empty_like(qkv), logs.new_empty(batch, qkv.shape[-1])
        call("attention_backward", qkv, bias, mixed, rest, grad, logs, changed, sums, scratch(qkv, tokens, head),
             *ctx.shape)
        return changed, None if bias is None else sums.sum(0).to(bias.dtype), None


class Gelu(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, values: Tensor, bias: Tensor, tanh: bool) -> Tensor:
        values, bias = values.contiguous(), bias.contiguous()
        result = torch.empty_like(values)
        call("gelu_forward", values, bias, result, *flat(values), tanh)
        ctx.save_for_backward(values, bias)
        ctx.tanh = tanh
        return result

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor, None]:
        values, bias = ctx.saved_tensors
        grad, changed = grad.contiguous(), torch.empty_like(values)
        sums = values.new_empty(PARTS, len(bias), dtype=torch.float32)
        call("gelu_backward", values, bias, grad, changed, sums, *flat(values), PARTS, ctx.tanh)
        return changed, sums.sum(0).to(bias.dtype), None


class LayerNorm(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, values: Tensor, weight: Tensor, bias: Tensor, epsilon: float) -> Tensor:
        values, weight = values.contiguous(), weight.contiguous()
        rows, width = flat(values)
        result, statistics = torch.empty_like(values), values.new_empty(2, rows, dtype=torch.float32)
        call("norm_forward", values, weight, bias.contiguous(), result, statistics[0], statistics[1], rows, width,
             epsilon)
        ctx.save_for_backward(values, weight, statistics)
        return result

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor, Tensor, None]:
        values, weight, statistics = ctx.saved_tensors
        grad, changed = grad.contiguous(), torch.empty_like(values)
        rows, width = statistics.shape[1], values.shape[-1]
        sums = values.new_empty(PARTS, 2, width, dtype=torch.float32)
        call("norm_backward", values, grad, weight, statistics[0], statistics[1], changed, sums, rows, width, PARTS)
        of_weight, of_bias = sums.sum(0).to(weight.dtype)
        return changed, of_weight, of_bias, None
