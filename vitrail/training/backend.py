"""In which numbers and with which kernels a device computes fastest: chosen by measurement, then written down."""

from __future__ import annotations

import functools
import math
import time
from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import nn

from vitrail import native
from vitrail.models.axial_resnet import AxialAttention
from vitrail.models.convolution import Style
from vitrail.models.vit.attention import AttentionCore, Kernel, mix
from vitrail.models.vit.config import FeedForwardKind, ViTConfig
from vitrail.models.vit.feedforward import FeedForward
from vitrail.models.vit.norm import Norm
from vitrail.training.precision import DTYPES, Precision
from vitrail.vocabulary import Size

MOST_MAPS = 2**27
"""Bytes of attention maps of a timed batch, at most: a map is as large as the square of its tokens."""

SHARE_OF_FREE = 16
"""One map of a timing takes this part of the free memory at most: several are held, with their gradients."""


class Backend(NamedTuple):
    """How a device computes fastest at one shape. Recorded in every checkpoint and replayed on resume.

    `attention` is None for a model that has none, or only one; where it is native, GELU and norms are, too."""

    precision: Precision
    attention: Kernel | None
    reason: str


def choose_backend(device: torch.device, *, rows: int, width: int, mlp: int, batch: int, heads: int, tokens: int,
                   precision: Precision | None = None, free: int | None = None,
                   native_for: FeedForwardKind | None = None) -> Backend:
    """Measure dense layers in bf16 and fp32 (unless `precision` is given), then the attention kernels in that type.
    `native_for`: the feed-forward layers of a model that can use the kernels of our own, which are then tried, too.

    `rows` = batch x tokens. `free`: bytes of memory that may be taken, where that is known. Where attention maps are
    large, fewer images are timed; where already those of one image are, the fused kernel, which holds none, is taken
    untried. Takes a fraction of a second; remembered within the process for the same shape.
    """
    most = MOST_MAPS if free is None else min(MOST_MAPS, free // SHARE_OF_FREE)
    return measure_backend(str(device), torch.get_num_threads(), min(rows, 4096), width, mlp,
                           min(batch, 64, most // products_bytes(heads, tokens)), heads, tokens, precision,
                           native_for)


def products_bytes(heads: int, tokens: int) -> int:
    """Of one image, in fp32."""
    return 4 * heads * tokens**2


@functools.cache
def measure_backend(device: str, threads: int, rows: int, width: int, mlp: int, batch: int, heads: int, tokens: int,
                    precision: Precision | None, native_for: FeedForwardKind | None) -> Backend:
    reasons = []
    if precision is None:
        seconds = in_both(partial(time_dense, device=device, rows=rows, width=width, mlp=mlp))
        precision = "bf16" if seconds["bf16"] < seconds["fp32"] else "fp32"
        reasons.append(f"dense layers {seconds['fp32'] / seconds['bf16']:.2g}x as fast in bf16 as in fp32")
    if not batch:
        reasons.append(f"attention fused untried: the products of one image with {tokens:,} tokens in {heads} heads "
                       f"would take {products_bytes(heads, tokens) / 2**30:.2g} GiB")
        return Backend(precision, "fused", "; ".join(reasons))
    dtype, shape = DTYPES[precision], (batch, tokens, heads, width // heads)
    kernels: tuple[Kernel, ...] = ("fused", "products")
    times = {kernel: time_attention(kernel, dtype, device, shape) for kernel in kernels}
    attention: Kernel = "fused" if times["fused"] <= times["products"] else "products"
    words = f"attention {1e3 * times['products']:.1f} ms by products, {1e3 * times['fused']:.1f} ms fused"
    if native_for and device == "cpu":
        own, further = try_native(times[attention], dtype, width, mlp, shape, native_for)
        attention, words = "native" if own else attention, words + further
    reasons.append(f"{words} (batch {batch}, {heads} heads, {tokens} tokens, {threads} threads)")
    return Backend(precision, attention, "; ".join(reasons))


def try_native(seconds: float, dtype: torch.dtype, width: int, mlp: int, shape: tuple[int, int, int, int],
               feedforward: FeedForwardKind) -> tuple[bool, str]:
    """Whether the kernels of our own take less than attention by torch (its `seconds`) with torch's GELU and norms;
    and the measurement in words."""
    if not native.takes(torch.empty(1, width, dtype=dtype), shape[-1]):
        return False, f", native kernels: {native.trouble() or 'widths not in sixteens'}"
    rows = shape[0] * shape[1]
    own, theirs = (time_layers(kind, dtype, rows, width, mlp, feedforward) for kind in (True, False))
    attention = time_attention("native", dtype, "cpu", shape)
    return own + attention < theirs + seconds, (f", {1e3 * attention:.1f} ms native; {feedforward} and norms "
                                                f"{1e3 * theirs:.1f} ms, {1e3 * own:.1f} ms native")


def choose_convolution_backend(device: torch.device, *, channels: int, size: Size, batch: int,
                               precision: Precision | None = None) -> Backend:
    """The same for a model of convolutions: measures a 3 x 3 one with its group norm (unless `precision` is given)."""
    return measure_convolution_backend(str(device), torch.get_num_threads(), channels, size, min(batch, 8), precision)


@functools.cache
def measure_convolution_backend(device: str, threads: int, channels: int, size: Size, batch: int,
                                precision: Precision | None) -> Backend:
    if precision is not None:
        return Backend(precision, None, "asked for")
    shape = (batch, channels, *size)
    return faster(in_both(partial(time_convolution, device=device, shape=shape)), "convolutions", threads)


def choose_axial_backend(device: torch.device, *, style: Style, channels: int, heads: int, size: Size, batch: int,
                         precision: Precision | None = None) -> Backend:
    """The same for an AxialResNet: measures its attention along rows and columns, which has only one kernel."""
    return measure_axial_backend(str(device), torch.get_num_threads(), style, channels, heads, size, min(batch, 8),
                                 precision)


@functools.cache
def measure_axial_backend(device: str, threads: int, style: Style, channels: int, heads: int, size: Size, batch: int,
                          precision: Precision | None) -> Backend:
    if precision is not None:
        return Backend(precision, None, "asked for")
    shape = (batch, channels, *size)
    time_one = partial(time_axial, device=device, style=style, heads=heads, shape=shape)
    return faster(in_both(time_one), "axial attention", threads)


def faster(seconds: dict[Precision, float], work: str, threads: int) -> Backend:
    """The precision that took less, for a model without a choice of attention kernel."""
    reason = f"{work} {seconds['fp32'] / seconds['bf16']:.2g}x as fast in bf16 as in fp32 ({threads} threads)"
    return Backend("bf16" if seconds["bf16"] < seconds["fp32"] else "fp32", None, reason)


def in_both(seconds: Callable[[torch.dtype, float], float]) -> dict[Precision, float]:
    """A piece of work in both types, given one and what the other took: a processor without bf16 may take fifty times
    as long in it, and need not be timed often then."""
    fp32 = seconds(DTYPES["fp32"], math.inf)
    return {"bf16": seconds(DTYPES["bf16"], fp32), "fp32": fp32}


def time_convolution(dtype: torch.dtype, other: float, *, device: str, shape: tuple[int, int, int, int]) -> float:
    channels = shape[1]
    x = torch.ones(shape, dtype=dtype, device=device, requires_grad=True)
    w = torch.ones(channels, channels, 3, 3, dtype=dtype, device=device, requires_grad=True)
    groups = math.gcd(32, channels)
    return seconds_of(lambda: F.relu(F.group_norm(F.conv2d(x, w, padding=1), groups)).sum().backward(), device, other)


def time_axial(dtype: torch.dtype, other: float, *, device: str, style: Style, heads: int,
               shape: tuple[int, int, int, int]) -> float:
    layer = AxialAttention(style, shape[1], heads, size=shape[2:], stride=1).to(device, dtype)
    for parameter in layer.parameters():
        nn.init.ones_(parameter)
    x = torch.ones(shape, dtype=dtype, device=device, requires_grad=True)
    return seconds_of(lambda: layer(x).sum().backward(), device, other)


def time_dense(dtype: torch.dtype, other: float, *, device: str, rows: int, width: int, mlp: int) -> float:
    x = torch.ones(rows, width, dtype=dtype, device=device, requires_grad=True)
    w = torch.ones(mlp, width, dtype=dtype, device=device, requires_grad=True)
    return seconds_of(lambda: F.linear(x, w).sum().backward(), device, other)


def time_attention(kernel: Kernel, dtype: torch.dtype, device: str, shape: tuple[int, int, int, int]) -> float:
    """From the dense layer before it to the one behind it, and back. `shape`: images, tokens, heads, numbers of a
    head."""
    core = AttentionCore()
    core.kernel = kernel
    images, tokens, heads, head = shape
    dense = nn.Linear(heads * head, 3 * heads * head, device=device, dtype=dtype)
    values = torch.ones(images, tokens, heads * head, dtype=dtype, device=device, requires_grad=True)
    return seconds_of(lambda: mix(core, values, dense, heads).sum().backward(), device)


def time_layers(own: bool, dtype: torch.dtype, rows: int, width: int, mlp: int, feedforward: FeedForwardKind) -> float:
    """One block's two norms and first dense layer with what follows it, and back."""
    config = ViTConfig(width=width, mlp=mlp, heads=1, depth=1, feedforward=feedforward)
    norm, dense = Norm(width).to(dtype), FeedForward(config).to(dtype)
    norm.native = dense.native = own
    values = torch.ones(1, rows, width, dtype=dtype, requires_grad=True)
    return seconds_of(lambda: dense.expanded(norm(norm(values))).sum().backward(), "cpu")


def seconds_of(work: Callable[[], object], device: str, other: float = math.inf, repeats: int = 7) -> float:
    """Least seconds of a piece of work, after two rounds to warm up: whatever else the machine does only adds to it.
    Of one that takes ten times as long as the `other` even in its second round, that round's."""
    taken = list[float]()
    while len(taken) < repeats + 2 and (len(taken) != 2 or taken[1] < 10 * other):
        start = time.perf_counter()
        work()
        if device.startswith("cuda"):
            torch.cuda.synchronize()
        taken.append(time.perf_counter() - start)
    return min(taken[2:] or taken)


def set_kernels(model: nn.Module, kernel: Kernel | None) -> None:
    """Have a model compute as `Backend.attention` says."""
    for module in model.modules():
        if isinstance(module, AttentionCore) and kernel is not None:
            module.kernel = kernel
        elif isinstance(module, Norm | FeedForward):
            module.native = kernel == "native"
