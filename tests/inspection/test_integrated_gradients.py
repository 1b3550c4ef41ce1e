from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from seen_patch import SEEN, bright, looking_at_one_patch
from test_relevance import drawn
from tiny_models import pictures
from torch import Tensor, nn

from vitrail.bundle import Bundle
from vitrail.data.preprocess import Preprocess
from vitrail.errors import UsageError
from vitrail.inspection.explained import explained
from vitrail.inspection.integrated_gradients import integrated_gradients
from vitrail.models import BiTConfig, create


class Formula(nn.Module):
    """A model whose class 1 is a formula of w x, the weighted sum of all pixels."""

    def __init__(self, power: int) -> None:
        super().__init__()
        self.config = BiTConfig(image_size=(6, 4), classes=2, depths=(1,))
        self.weight = nn.Parameter(torch.randn(3, 6, 4, generator=torch.Generator().manual_seed(0)))
        self.power = power

    def forward(self, images: Tensor) -> Tensor:
        product = (images * self.weight).sum((1, 2, 3)) ** self.power
        return torch.stack((torch.zeros_like(product), product), 1)


@pytest.mark.parametrize("power", [1, 2])
@pytest.mark.parametrize("steps", [1, 5])
def test_of_a_formula_they_are_known(power: int, steps: int) -> None:
    """w x -> w_i x_i; (w x)^2 -> w_i x_i (w x). The midpoint rule is exact for both."""
    model, raw = Formula(power), pictures(2, (6, 4))
    bundle = Bundle(model, Preprocess(size=(6, 4)))  # type: ignore[arg-type]
    asked = explained(bundle, raw, target=1)
    found = integrated_gradients(asked, steps=steps, batch_size=2)
    images = bundle.preprocess.normalize(raw)
    added = (images * model.weight).detach()
    product = added.sum((1, 2, 3))
    expected = added.sum(1) * product[:, None, None] ** (power - 1)
    assert found.pixels == pytest.approx(expected.numpy(), rel=1e-4, abs=1e-4)
    assert found.made == pytest.approx((product**power).numpy(), rel=1e-4)
    assert found.missing < 1e-4


def test_finds_the_one_patch_that_is_looked_at() -> None:
    found = integrated_gradients(explained(looking_at_one_patch(), bright(), target=1)).over_panes
    for one in found:
        assert np.unravel_index(one.argmax(), one.shape) == SEEN
        assert np.abs(one).sum() - one.max() < 0.05 * one.max()


@pytest.mark.parametrize("overrides", [{}, {"pooling": "attention", "registers": 2}, {"positions": "rotary-2d",
                                       "positions_at": "shared", "width": 32}], ids=str)
def test_the_pixels_add_up_to_what_the_image_makes(overrides: dict[str, Any]) -> None:
    asked = explained(Bundle(drawn(**overrides), Preprocess(size=(12, 8))), pictures(2), target=0)
    found = integrated_gradients(asked, steps=128, batch_size=32)
    whole, empty = asked.images(0), torch.zeros_like(asked.images(0))
    with torch.no_grad():
        made = asked.evidence(whole, torch.tensor([0])) - asked.evidence(empty, torch.tensor([0]))
    assert found.made[0] == pytest.approx(float(made), abs=1e-5)
    assert found.summed == pytest.approx(found.made, abs=0.01 * float(np.abs(found.made).max()))
    assert found.over_panes.sum((1, 2)) == pytest.approx(found.summed, abs=1e-4)
    assert found.missing == pytest.approx(np.abs(found.summed - found.made).sum() / np.abs(found.made).sum())


def test_a_model_that_sees_no_contrast_is_explained_from_a_blur() -> None:
    """A BiT says the same of a faint image, so the way from the mean color explains nothing of it."""
    torch.manual_seed(0)
    model = create("R26x0.25", image_size=32, classes=3, depths=(1,)).eval()
    nn.init.normal_(model.head.weight)  # type: ignore[arg-type, union-attr]
    asked = explained(Bundle(model, Preprocess(size=(32, 32))), pictures(1, (8, 8)).repeat_interleave(4, 2)
                      .repeat_interleave(4, 3))
    from_mean, found = integrated_gradients(asked, steps=32, batch_size=32), integrated_gradients(asked, batch_size=32)
    assert from_mean.missing > 0.5
    assert found.start == "blur"
    assert found.missing <= 0.05


def test_no_steps() -> None:
    with pytest.raises(UsageError, match="0 steps lead nowhere"):
        integrated_gradients(explained(looking_at_one_patch(), bright(1)), steps=0)
