"""A model that computes with the kernels of our own learns what it learns with torch's."""

from __future__ import annotations

from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vitrail import native
from vitrail.models import create
from vitrail.training.adapters import AdapterSettings, adapt
from vitrail.training.backend import set_kernels

pytestmark = pytest.mark.skipif(bool(native.trouble()), reason=native.trouble())

KINDS: list[dict[str, Any]] = [
    {}, {"pooling": "mean"}, {"pooling": "attention"}, {"feedforward": "gelu"}, {"feedforward": "swiglu"},
    {"feedforward": "gelu-quick"}, {"positions": "rotary-2d", "positions_at": "shared"},
    {"positions": "relative", "positions_at": "every"}, {"qkv_bias": False}, {"layer_scale": 0.1}, {"registers": 2},
    {"norm_at": "pooled", "pooling": "mean"}]


def tiny(**kind: Any) -> nn.Module:
    torch.manual_seed(0)
    return create("mu/4", classes=3, image_size=16, depth=3, heads=2, **kind)


def learned(model: nn.Module, dtype: torch.dtype, kernel: Any) -> tuple[Tensor, dict[str, Tensor]]:
    """Loss and gradients."""
    model = model.to(dtype)
    set_kernels(model, kernel)
    images = torch.randn(4, 3, 16, 16, generator=torch.Generator().manual_seed(1)).to(dtype)
    loss = F.cross_entropy(model(images).float(), torch.tensor([0, 1, 2, 0]))
    loss.backward()
    return loss.detach(), {name: p.grad.float() for name, p in model.named_parameters() if p.grad is not None}


def apart(found: dict[str, Tensor], exact: dict[str, Tensor]) -> float:
    assert found.keys() == exact.keys()
    whole = torch.cat([(found[name] - exact[name]).flatten() for name in exact])
    return float(whole.norm() / torch.cat([value.flatten() for value in exact.values()]).norm())


@pytest.mark.parametrize("kind", KINDS, ids=str)
def test_loss_and_gradients_are_as_near_as_with_torchs_kernels(kind: dict[str, Any]) -> None:
    exact_loss, exact = learned(tiny(**kind), torch.float32, "products")
    _, torchs = learned(tiny(**kind), torch.bfloat16, "products")
    loss, ours = learned(tiny(**kind), torch.bfloat16, "native")
    assert abs(loss - exact_loss) < 0.02
    assert apart(ours, exact) < max(1.3 * apart(torchs, exact), 0.01)
    loss, ours = learned(tiny(**kind), torch.float32, "native")
    assert abs(loss - exact_loss) < 1e-6
    assert apart(ours, exact) < 1e-5


def test_the_kernels_are_really_called(monkeypatch: pytest.MonkeyPatch) -> None:
    from vitrail.native import kernels

    calls: list[str] = []
    call = kernels.call
    monkeypatch.setattr(kernels, "call", lambda name, *rest: (calls.append(name), call(name, *rest)))
    for dtype in (torch.bfloat16, torch.float32):
        learned(tiny(), dtype, "native")
        assert {name: calls.count(name) for name in set(calls)} == {
            "attention_forward": 2, "attention_backward": 2,  # the last block has the class token alone, by products
            "gelu_forward": 3, "gelu_backward": 3, "norm_forward": 7, "norm_backward": 7}
        calls.clear()
        learned(tiny(), dtype, "products")
        assert not calls


def test_adapters_learn_beside_the_kernels() -> None:
    def adapted() -> nn.Module:
        model = tiny()
        adapt(model, AdapterSettings(rank=2, layers=("*",)))
        for name, value in model.named_parameters():
            if value.requires_grad:
                nn.init.constant_(value, 0.02 if "head" not in name else 0.1)
        return model

    _, exact = learned(adapted(), torch.float32, "products")
    _, torchs = learned(adapted(), torch.bfloat16, "products")
    _, ours = learned(adapted(), torch.bfloat16, "native")
    assert exact
    assert apart(ours, exact) < max(1.3 * apart(torchs, exact), 0.02)


def test_recomputed_blocks_give_the_same_gradients() -> None:
    _, kept = learned(tiny(), torch.bfloat16, "native")
    model = tiny()
    model.encoder.recompute = True
    _, anew = learned(model, torch.bfloat16, "native")
    assert all(torch.equal(kept[name], anew[name]) for name in kept)
