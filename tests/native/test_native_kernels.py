"""The kernels against torch in double precision: as near as torch's own in the same type, for all shapes they take."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from vitrail import native

pytestmark = pytest.mark.skipif(bool(native.trouble()), reason=native.trouble())
both_types = pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float32], ids=["bf16", "fp32"])
STEP = {torch.bfloat16: 2**-8, torch.float32: 5e-7}
"""What a number may be wrong by, of itself: rounding once, in bf16; in fp32 several sums, exponentials and Phi."""
NEAR = {torch.bfloat16: 2 * STEP[torch.bfloat16], torch.float32: 4 * STEP[torch.float32]}
Function = Callable[..., Tensor]


def numbers(*shape: int, seed: int = 0, scale: float = 1.0, dtype: torch.dtype = torch.bfloat16) -> Tensor:
    return (scale * torch.randn(shape, generator=torch.Generator().manual_seed(seed))).to(dtype)


def with_gradients(function: Function, inputs: list[Tensor], grad: Tensor) -> list[Tensor]:
    leaves = [one.detach().clone().requires_grad_() for one in inputs]
    result = function(*leaves)
    result.backward(grad.to(result.dtype))
    return [result.detach(), *(leaf.grad for leaf in leaves)]  # type: ignore[list-item]


def far(found: Tensor, exact: Tensor) -> float:
    return float((found.double() - exact).norm() / exact.norm().clamp(min=1e-30))


def check(ours: Function, theirs: Function, inputs: list[Tensor], grad: Tensor) -> None:
    """Ours lies as near to torch in double precision as torch does in that type, or as rounding a result allows."""
    exact = with_gradients(theirs, [one.double() for one in inputs], grad)
    torchs = with_gradients(theirs, inputs, grad)
    for place, (mine, other, truth) in enumerate(zip(with_gradients(ours, inputs, grad), torchs, exact, strict=True)):
        assert mine.dtype == inputs[0].dtype
        assert mine.shape == truth.shape
        assert far(mine, truth) <= max(1.2 * far(other, truth), NEAR[mine.dtype]), f"result {place}"


def plain_attention(qkv: Tensor, bias: Tensor, heads: int) -> Tensor:
    q, k, v = (qkv + bias).unflatten(-1, (3, heads, -1)).permute(2, 0, 3, 1, 4).unbind(0)
    scores = torch.matmul(q, k.transpose(-1, -2)) / math.sqrt(q.shape[-1])
    return torch.matmul(torch.softmax(scores, -1), v).transpose(1, 2).flatten(2)


@both_types
@given(images=st.integers(1, 3), tokens=st.integers(1, 140), heads=st.integers(1, 3), sixteens=st.integers(1, 7),
       scale=st.sampled_from([0.1, 1.0, 3.0]), seed=st.integers(0, 99))
@settings(max_examples=40, deadline=None)
def test_attention_is_that_of_torch(dtype: torch.dtype, images: int, tokens: int, heads: int, sixteens: int,
                                    scale: float, seed: int) -> None:
    """In double precision, of qkv + bias rounded to its type, as a dense layer would give it: large scores turn that
    rounding into any error there is. What is left is rounding a map, its gradient and the results once each. In fp32
    differences may cancel (of one token to nothing), and what they leave is multiplied by values and keys."""
    width = 16 * sixteens * heads
    qkv = numbers(images, tokens, 3 * width, seed=seed, scale=scale, dtype=dtype)
    bias, grad = numbers(3 * width, seed=seed + 1, dtype=dtype), numbers(images, tokens, width, seed=seed + 2)
    exact = with_gradients(lambda qkv, bias: plain_attention(qkv, bias, heads),
                           [(qkv + bias).double(), torch.zeros(3 * width).double()], grad)
    found = with_gradients(lambda qkv, bias: native.attention(qkv, bias, heads), [qkv, bias], grad)
    larger = max(scale, 1) ** 2 if dtype == torch.float32 else 1
    for mine, truth, steps in zip(found, exact, (1, 4, 8), strict=True):  # sums for the bias may cancel
        assert mine.dtype == dtype
        assert mine.shape == truth.shape
        assert far(mine, truth) < larger * steps * STEP[dtype]


@pytest.mark.parametrize(("tokens", "scale"), [(2, 3.0), (3, 1.0), (20, 3.0), (100, 1.0)])
def test_attention_is_nearer_than_that_of_torch_on_the_whole(tokens: int, scale: float) -> None:
    """Maps and the answers' rests keep more digits than torch's kernels hand on."""
    errors = []
    for seed in range(30):
        inputs = [numbers(1, tokens, 144, seed=seed, scale=scale), numbers(144, seed=1000 + seed)]
        grad = numbers(1, tokens, 48, seed=2000 + seed)
        exact = with_gradients(lambda qkv, bias: plain_attention(qkv, bias, 1), [x.double() for x in inputs], grad)
        both = (lambda qkv, bias: native.attention(qkv, bias, 1)), (lambda qkv, bias: plain_attention(qkv, bias, 1))
        found = [with_gradients(one, inputs, grad) for one in both]
        errors.append([[far(mine, truth) for mine, truth in zip(results, exact, strict=True)] for results in found])
    ours, torchs = torch.tensor(errors).mean(0)
    assert bool((ours < torchs).all())


@both_types
@pytest.mark.parametrize("tokens", [197, 577, 1025])
def test_long_sequences_are_computed_in_parts(tokens: int, dtype: torch.dtype) -> None:
    inputs = [numbers(1, tokens, 3 * 64, dtype=dtype), numbers(3 * 64, seed=1, dtype=dtype)]
    grad = numbers(1, tokens, 64, seed=2)
    check(lambda qkv, bias: native.attention(qkv, bias, 1), lambda qkv, bias: plain_attention(qkv, bias, 1), inputs,
          grad)


@both_types
def test_attention_without_a_bias_is_that_with_zeros(dtype: torch.dtype) -> None:
    qkv = numbers(2, 20, 96, dtype=dtype)
    without = native.attention(qkv.requires_grad_(), None, 2)
    assert torch.equal(without, native.attention(qkv, torch.zeros(96).to(dtype), 2))
    without.sum().backward()
    assert qkv.grad is not None


@both_types
def test_scores_too_large_for_an_exponential_are_no_trouble(dtype: torch.dtype) -> None:
    qkv = numbers(1, 9, 96, scale=200.0, dtype=dtype)
    found = native.attention(qkv, None, 2)
    assert bool(found.isfinite().all())
    assert far(found, plain_attention(qkv.double(), torch.zeros(96).double(), 2)) < 0.01


@both_types
@pytest.mark.parametrize("size", [*torch.arange(-23.5, -21.5, 0.125).tolist(), -200.0, -67.0, -3.0, 3.0, 22.5, 200.0])
def test_scores_that_are_all_far_from_zero_leave_no_trace_of_the_padding(size: float, dtype: torch.dtype) -> None:
    """Five tokens are padded to sixteen, whose scores of 0 are then far from all others: powers of 2 end at 128.
    Gradients of queries are 0 here, but for the rounding of five numbers that add up to 0, times the keys."""
    qkv, grad, zeros = numbers(1, 5, 96, scale=0.1, dtype=dtype), numbers(1, 5, 32, seed=1), torch.zeros(96)
    qkv[..., :32], qkv[..., 32:64] = 1.0, size
    exact = with_gradients(lambda qkv: plain_attention(qkv, zeros.double(), 2), [qkv.double()], grad)
    found = with_gradients(lambda qkv: native.attention(qkv, None, 2), [qkv], grad)
    assert far(found[0], exact[0]) < 0.01
    assert far(found[1][..., 32:], exact[1][..., 32:]) < 0.01
    assert float(found[1][..., :32].float().abs().max()) < 0.01 * max(abs(size), 1)


@both_types
@pytest.mark.parametrize("size", [1e2, 1e3, 1e4, 1e5, 1e18])
def test_scores_may_be_of_any_size(size: float, dtype: torch.dtype) -> None:
    """The largest of a row is taken off before anything is rounded, on both ways alike."""
    qkv, grad, zeros = numbers(2, 9, 96, dtype=dtype), numbers(2, 9, 32, seed=1), torch.zeros(96)
    qkv[..., :64] *= size
    exact = with_gradients(lambda qkv: plain_attention(qkv, zeros.double(), 2), [qkv.double()], grad)
    found = with_gradients(lambda qkv: native.attention(qkv, None, 2), [qkv], grad)
    assert far(found[0], exact[0]) < 2**-8
    assert far(found[1][..., 64:], exact[1][..., 64:]) < 2**-7
    assert bool(found[1].isfinite().all())


@both_types
@pytest.mark.parametrize("tanh", [False, True])
@pytest.mark.parametrize(("rows", "width"), [(1, 16), (5, 48), (200, 64)])
def test_gelu_is_that_of_torch(tanh: bool, rows: int, width: int, dtype: torch.dtype) -> None:
    inputs = [numbers(rows, width, scale=3.0, dtype=dtype), numbers(width, seed=1, dtype=dtype)]
    grad = numbers(rows, width, seed=2)
    check(lambda values, bias: native.gelu(values, bias, tanh),
          lambda values, bias: F.gelu(values + bias, approximate="tanh" if tanh else "none"), inputs, grad)


@pytest.mark.parametrize("tanh", [False, True])
def test_gelu_of_every_number_is_within_a_step_of_bf16(tanh: bool) -> None:
    """All finite bf16 numbers. Far below zero only the distance counts: torch's formula loses its digits there, and our
    sigmoid ends at 2^-125."""
    every = torch.arange(-2**15, 2**15, dtype=torch.int32).to(torch.int16).view(torch.bfloat16)
    every = every[every.isfinite()]
    padded = torch.cat([every, every.new_zeros(-len(every) % 16)]).view(1, -1)
    found = native.gelu(padded, torch.zeros_like(padded[0]), tanh)[0, :len(every)].double()
    exact = F.gelu(every.double(), approximate="tanh" if tanh else "none")
    assert bool(((found - exact).abs() <= 2**-7 * exact.abs() + 3e-7 + 2**-124 * every.double().abs()).all())
    assert far(found, exact) < 2**-8


@pytest.mark.parametrize("tanh", [False, True])
def test_the_slope_of_gelu_at_every_number_is_right(tanh: bool) -> None:
    """0 or 1 far out, however large the numbers are that it is made of."""
    every = torch.arange(-2**15, 2**15, dtype=torch.int32).to(torch.int16).view(torch.bfloat16)
    every = every[every.isfinite()]
    padded = torch.cat([every, every.new_zeros(-len(every) % 16)]).view(1, -1).requires_grad_()
    native.gelu(padded, torch.zeros_like(padded[0]), tanh).sum().backward()
    assert padded.grad is not None
    near = every.double().clamp(-50, 50).requires_grad_()
    F.gelu(near, approximate="tanh" if tanh else "none").sum().backward()
    assert near.grad is not None
    found = padded.grad[0, :len(every)].double()
    assert bool(((found - near.grad).abs() <= 2**-7 * near.grad.abs() + 1e-5).all())


@pytest.mark.parametrize("tanh", [False, True])
def test_gelu_and_its_slope_in_fp32_are_right_to_six_digits(tanh: bool) -> None:
    """Phi is wrong by 2e-7 at most, also where it is near zero."""
    every = torch.linspace(-40, 40, 2**16).requires_grad_()
    exact = every.detach().double().requires_grad_()
    found = native.gelu(every.view(-1, 64), torch.zeros(64), tanh).flatten()
    truth = F.gelu(exact, approximate="tanh" if tanh else "none")
    found.sum().backward(), truth.sum().backward()
    assert every.grad is not None
    assert exact.grad is not None
    assert bool(((found - truth).abs() <= 3e-7 * (1 + exact.abs())).all())
    assert bool(((every.grad - exact.grad).abs() <= 2e-6).all())


@both_types
@pytest.mark.parametrize("shape", [(1, 16), (3, 5, 48), (2, 70, 384)])
def test_layer_norm_is_that_of_torch(shape: tuple[int, ...], dtype: torch.dtype) -> None:
    width = shape[-1]
    inputs = [numbers(*shape, scale=2.0, dtype=dtype) + 1, *(numbers(width, seed=one, dtype=dtype) for one in (1, 2))]
    check(lambda values, weight, bias: native.layer_norm(values, weight, bias, 1e-6),
          lambda values, weight, bias: F.layer_norm(values, (width,), weight, bias, 1e-6), inputs,
          numbers(*shape, seed=3))


@both_types
def test_strided_inputs_and_gradients_are_understood(dtype: torch.dtype) -> None:
    values, grad = numbers(48, 6, dtype=dtype).T, numbers(48, 6, seed=3).T
    weight, bias = (numbers(48, seed=one, dtype=dtype) for one in (1, 2))
    check(lambda x, w, b: native.layer_norm(x, w, b, 1e-6), lambda x, w, b: F.layer_norm(x, (48,), w, b, 1e-6),
          [values, weight, bias], grad)
    check(lambda x, b: native.gelu(x, b, True), lambda x, b: F.gelu(x + b, approximate="tanh"), [values, bias], grad)


@both_types
@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_what_is_not_finite_stays_so(bad: float, dtype: torch.dtype) -> None:
    """A run stops before a step with a loss that is no number, so none may be lost on the way (R7)."""
    qkv, values = numbers(1, 5, 96, dtype=dtype), numbers(3, 32, dtype=dtype)
    qkv[0, 2, 70], values[1, 3] = bad, bad
    zeros = torch.zeros(96).to(dtype)
    assert not bool(native.attention(qkv, None, 2).isfinite().all())
    assert not bool(native.layer_norm(values, zeros[:32] + 1, zeros[:32], 1e-6)[1].isfinite().any())
    for tanh in (False, True):
        assert not bool(native.gelu(values, zeros[:32], tanh)[1, 3].isfinite())


@both_types
def test_results_do_not_hang_on_the_number_of_threads(dtype: torch.dtype) -> None:
    inputs = [numbers(3, 21, 96, dtype=dtype), numbers(96, seed=1, dtype=dtype)]
    wide = [numbers(130, 48, dtype=dtype), numbers(48, seed=1, dtype=dtype)]
    norm = [*wide, numbers(48, seed=2, dtype=dtype)]

    def everything() -> list[Tensor]:
        return [*with_gradients(lambda qkv, bias: native.attention(qkv, bias, 2), inputs, numbers(3, 21, 32, seed=2)),
                *with_gradients(lambda x, b: native.gelu(x, b, True), wide, numbers(130, 48, seed=3)),
                *with_gradients(lambda x, w, b: native.layer_norm(x, w, b, 1e-6), norm, numbers(130, 48, seed=4))]

    threads = torch.get_num_threads()
    try:
        torch.set_num_threads(1)
        alone = everything()
        torch.set_num_threads(3)
        assert all(torch.equal(one, other) for one, other in zip(alone, everything(), strict=True))
    finally:
        torch.set_num_threads(threads)


def test_products_of_torch_are_right_after_the_kernels_used_the_matrix_tiles() -> None:
    left, right = numbers(40, 64), numbers(64, 48, seed=1)
    before = left @ right
    native.attention(numbers(2, 20, 96), None, 2)
    assert torch.equal(left @ right, before)


@pytest.mark.parametrize(("values", "head"), [
    (torch.zeros(2, 16).double(), 16), (torch.zeros(2, 16).half(), 16), (torch.zeros(2, 20).bfloat16(), 16),
    (torch.zeros(2, 24).bfloat16(), 8), (torch.zeros(0, 16).bfloat16(), 16),
    (torch.zeros(2, 16, device="meta").bfloat16(), 16)])
def test_what_the_kernels_do_not_take(values: Tensor, head: int) -> None:
    assert not native.takes(values, head)
    assert native.takes(torch.zeros(2, 16).bfloat16())
    assert native.takes(torch.zeros(2, 16))


def more_after(layer: nn.Linear) -> None:
    layer.register_forward_hook(lambda module, inputs, output: output + 1)


def more_on_the_way_back(layer: nn.Linear) -> None:
    layer.register_full_backward_pre_hook(lambda module, grads: grads)


def another_way(layer: nn.Linear) -> None:
    layer.forward = lambda values: F.linear(values, layer.weight)  # type: ignore[method-assign]


def bias_of_another_type(layer: nn.Linear) -> None:
    layer.forward = lambda values: F.linear(values, layer.weight) + layer.bias  # type: ignore[method-assign]
    layer.bias.data = layer.bias.data.float()


def test_a_plain_dense_layer_leaves_its_bias_to_the_kernel() -> None:
    layer, values = nn.Linear(16, 32).bfloat16(), numbers(3, 16)
    product, bias = native.without_bias(layer, values)
    assert bias is layer.bias
    assert torch.allclose(product + bias, layer(values), atol=0.02)


@pytest.mark.parametrize("more", [more_after, more_on_the_way_back, another_way, bias_of_another_type])
def test_a_dense_layer_with_more_to_it_is_called_as_it_is(more: Callable[[nn.Linear], None]) -> None:
    layer, values = nn.Linear(16, 32).bfloat16(), numbers(3, 16)
    more(layer)
    product, bias = native.without_bias(layer, values)
    assert bias is None
    assert torch.equal(product, layer(values))


def test_a_bias_in_fp32_is_never_read_as_bf16() -> None:
    """As torch.autocast has it: layers in fp32 that give bf16."""
    layer, values = nn.Linear(16, 32), torch.randn(3, 16, generator=torch.Generator().manual_seed(0))
    with torch.autocast("cpu", torch.bfloat16):
        product, bias = native.without_bias(layer, values.bfloat16())
        assert bias is None
        assert torch.equal(product, layer(values))
