from __future__ import annotations

import numpy as np
import pytest
import torch
from tiny_models import tiny
from torch import nn

from vitrail.errors import UsageError
from vitrail.inspection import Recorded, record
from vitrail.models.vit.attention import AttentionCore


def hooks_of(model: nn.Module) -> int:
    return sum(len(module._forward_pre_hooks) for module in model.modules())


def reference(recorded: Recorded) -> np.ndarray:
    """softmax(q k^T / sqrt(width) + bias) in NumPy and float64."""
    q, k = recorded.queries.double().numpy(), recorded.keys.double().numpy()
    scores = np.einsum("bhtd,bhod->bhto", q, k) / np.sqrt(q.shape[-1])
    if recorded.bias is not None:
        scores = scores + recorded.bias.double().numpy()
    powers = np.exp(scores - scores.max(-1, keepdims=True))
    return powers / powers.sum(-1, keepdims=True)


@pytest.mark.parametrize("positions", ["learned", "relative", "relative-bias", "rotary-2d"])
def test_weights_agree_with_an_independent_softmax(positions: str) -> None:
    model = tiny(positions=positions)
    with record(model) as trace, torch.inference_mode():
        model(torch.randn(2, 3, 12, 8))
    asked = [7, 7, 1 if positions == "learned" else 7]  # the last block needs no queries but the class token's
    assert [recorded.weights().shape for recorded in trace.values()] == [(2, 2, queries, 7) for queries in asked]
    assert list(trace) == [f"encoder.blocks.{layer}.attention.core" for layer in range(3)]
    for recorded in trace.values():
        weights = recorded.weights()
        assert weights.shape[-1] == 7
        assert np.allclose(weights.numpy(), reference(recorded), atol=1e-6)
        assert torch.allclose(recorded.weights(slice(0, 1)), weights[:, :, :1])
    assert (trace["encoder.blocks.0.attention.core"].bias is not None) == positions.startswith("relative")


def test_the_fused_kernel_used_the_same_weights() -> None:
    core = AttentionCore()
    q, k, v = torch.randn(3, 1, 2, 5, 8)
    with record(nn.ModuleDict({"core": core})) as trace:
        mixed = core(q, k, v, bias=torch.ones(5, 5).tril())
    assert torch.allclose(trace["core"].weights() @ v, mixed, atol=1e-6)


def test_recording_changes_nothing_and_leaves_nothing_behind() -> None:
    model, images = tiny(), torch.randn(1, 3, 12, 8)
    with torch.inference_mode():
        before = model(images)
        with record(model):
            assert torch.equal(model(images), before)
            assert hooks_of(model) == 3
    assert hooks_of(model) == 0


def test_hooks_are_removed_after_a_failure() -> None:
    model = tiny()
    with pytest.raises(RuntimeError, match="inside"), record(model):
        raise RuntimeError("inside")
    assert hooks_of(model) == 0


def test_a_compiled_model_is_refused() -> None:
    model = tiny()
    compiled = torch.compile(model, backend="eager")
    with pytest.raises(UsageError, match="eager"), record(compiled):  # type: ignore[arg-type]
        pass
