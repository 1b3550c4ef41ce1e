from __future__ import annotations

import math
from typing import Any

import pytest
import torch

from vitrail.models import create
from vitrail.models.axial_resnet import AxialResNetConfig
from vitrail.training import backend as backends
from vitrail.training.backend import choose_axial_backend, choose_backend, set_kernels
from vitrail.training.precision import Weights

SHAPE = {"rows": 64, "width": 32, "mlp": 64, "batch": 4, "heads": 2, "tokens": 16}


def test_a_choice_is_one_of_the_possible_and_gives_its_reason() -> None:
    backend = choose_backend(torch.device("cpu"), **SHAPE)
    assert backend.precision in ("bf16", "fp32")
    assert backend.attention in ("fused", "products")
    assert "in bf16 as in fp32" in backend.reason
    assert choose_backend(torch.device("cpu"), **SHAPE) is backend  # measured once


def test_a_precision_that_was_asked_for_is_kept() -> None:
    assert choose_backend(torch.device("cpu"), **SHAPE, precision="fp32").precision == "fp32"


@pytest.mark.parametrize(("tokens", "free", "batch"), [
    (16, None, 8), (1000, None, 8), (2000, None, 4), (12_545, None, 0), (1000, 2**26, 0), (100, 2**26, 8),
])
def test_attention_is_timed_on_as_many_images_as_have_room(monkeypatch: pytest.MonkeyPatch, tokens: int,
                                                           free: int | None, batch: int) -> None:
    """None where the map of one image alone is too large: the fused kernel needs none and is taken as it is."""
    timed = []

    def time_attention(kernel: str, dtype: Any, device: str, shape: tuple[int, ...]) -> float:
        timed.append((kernel, shape))
        return {"products": 1.0, "fused": 2.0}[kernel]

    monkeypatch.setattr(backends, "time_attention", time_attention)
    backends.measure_backend.cache_clear()
    backend = choose_backend(torch.device("cpu"), **SHAPE | {"tokens": tokens, "batch": 8}, precision="fp32", free=free)
    backends.measure_backend.cache_clear()
    shape = (batch, tokens, 2, 16)
    assert timed == ([("fused", shape), ("products", shape)] if batch else [])
    assert backend.attention == ("products" if batch else "fused")
    assert ("untried" in backend.reason) == (not batch)
    assert 4 * 2 * batch * tokens**2 <= min(backends.MOST_MAPS, (free or 2**40) // 16)


@pytest.mark.parametrize(("native_ms", "torch_ms", "layers_ms", "own_layers_ms", "chosen"), [
    (5, 9, 8, 7, "native"), (10, 9, 8, 5, "native"), (10, 9, 8, 7.5, "products"), (5, 9, 8, 13, "products")])
@pytest.mark.parametrize("precision", ["bf16", "fp32"])
def test_native_kernels_are_chosen_where_they_take_less_in_all(
        monkeypatch: pytest.MonkeyPatch, precision: Any, native_ms: float, torch_ms: float, layers_ms: float,
        own_layers_ms: float, chosen: str) -> None:
    times = {"products": torch_ms, "fused": 2 * torch_ms, "native": native_ms}
    monkeypatch.setattr(backends, "time_attention", lambda kernel, *rest: times[kernel] / 1e3)
    monkeypatch.setattr(backends, "time_layers", lambda own, *rest: (own_layers_ms if own else layers_ms) / 1e3)
    monkeypatch.setattr(backends.native, "takes", lambda *values: True)
    backends.measure_backend.cache_clear()
    try:
        for kind, expected in (("gelu", chosen), (None, "products")):
            backend = choose_backend(torch.device("cpu"), **SHAPE, precision=precision, native_for=kind)
            assert backend.attention == expected
            assert ("native" in backend.reason) == (kind is not None)
    finally:
        backends.measure_backend.cache_clear()


def test_why_there_are_no_native_kernels_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(backends.native, "takes", lambda *values: False)
    monkeypatch.setattr(backends.native, "trouble", lambda: "no C++ compiler (apt install g++)")
    backends.measure_backend.cache_clear()
    backend = choose_backend(torch.device("cpu"), **SHAPE, precision="bf16", native_for="gelu")
    backends.measure_backend.cache_clear()
    assert backend.attention in ("fused", "products")
    assert "native kernels: no C++ compiler (apt install g++)" in backend.reason


def test_an_axial_resnet_has_a_precision_to_choose_and_one_kernel() -> None:
    shape = {"style": AxialResNetConfig(depths=(1,)).style, "channels": 16, "heads": 2, "size": (4, 6), "batch": 2}
    backend = choose_axial_backend(torch.device("cpu"), **shape)
    assert backend.precision in ("bf16", "fp32")
    assert backend.attention is None
    assert "axial attention" in backend.reason
    assert choose_axial_backend(torch.device("cpu"), **shape) is backend
    assert choose_axial_backend(torch.device("cpu"), **shape, precision="bf16").precision == "bf16"


def test_the_kernel_is_set_everywhere() -> None:
    model = create("mu/4", image_size=8, pooling="attention")
    for kernel in ("native", "products"):
        set_kernels(model, kernel)
        assert model.pool.core.kernel == kernel
        for block in model.encoder.blocks:
            assert block.attention.core.kernel == kernel
            assert block.norm1.native == block.norm2.native == block.feed_forward.native == (kernel == "native")


def test_frozen_parameters_leave_as_they_came_though_bf16_rounds_the_copies() -> None:
    layer = torch.nn.Linear(3, 2)
    layer.weight.requires_grad_(False)
    before = {name: value.detach().clone() for name, value in layer.state_dict().items()}
    weights = Weights(layer, "bf16")
    assert weights.names == ["bias"]
    assert layer.weight.dtype == torch.bfloat16
    exported = weights.export(layer)
    assert all(torch.equal(exported[name], value) for name, value in before.items())


def test_other_values_may_stand_in_for_the_masters() -> None:
    layer = torch.nn.Linear(3, 2)
    weights = Weights(layer, "fp32")
    exported = weights.export(layer, [torch.full_like(value, 7.0) for value in weights.masters])
    assert all(bool((value == 7).all()) for value in exported.values())


@pytest.mark.parametrize(("other", "rounds"), [(math.inf, 9), (0.011, 9), (0.0005, 2)])
def test_what_takes_ten_times_as_long_as_the_other_is_not_timed_often(
        monkeypatch: pytest.MonkeyPatch, other: float, rounds: int) -> None:
    now, calls = iter(range(100)), []
    monkeypatch.setattr(backends.time, "perf_counter", lambda: next(now) / 100)
    assert backends.seconds_of(lambda: calls.append(1), "cpu", other) == pytest.approx(0.01)
    assert len(calls) == rounds
