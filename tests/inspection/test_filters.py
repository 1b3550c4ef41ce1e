from __future__ import annotations

import numpy as np
import pytest
import torch
from sklearn.decomposition import PCA
from tiny_models import tiny

from vitrail.inspection import patch_filters
from vitrail.models import create


def test_agrees_with_scikit_learn() -> None:
    model = tiny(width=64)
    filters = patch_filters(model, count=5)
    rows = model.patchify.weight.detach().double().numpy().reshape(64, -1)
    pca = PCA(5).fit(rows)
    assert filters.shares == pytest.approx(pca.explained_variance_ratio_, rel=1e-5)
    components = (filters.pictures * 2 - 1).transpose(0, 3, 1, 2).reshape(5, -1)
    alike = np.abs((components / np.linalg.norm(components, axis=1, keepdims=True) * pca.components_).sum(1))
    assert alike == pytest.approx(np.ones(5), abs=1e-5)


def test_two_known_directions_come_out_in_order_of_strength() -> None:
    model = tiny()
    red_left, blue = torch.zeros(2, 3, 4, 4)
    red_left[0, :, 0] = 1.0
    blue[2] = 1.0
    sides = torch.tensor([1.0, 1.0, -1.0, -1.0]).repeat(4)
    turns = torch.tensor([1.0, -1.0]).repeat(8)
    with torch.no_grad():
        model.patchify.weight.copy_(5 * sides[:, None, None, None] * red_left + turns[:, None, None, None] * blue)
    filters = patch_filters(model)
    assert filters.pictures.shape == (2, 4, 4, 3)
    assert filters.pictures[0] == pytest.approx((0.5 + 0.5 * red_left.permute(1, 2, 0)).numpy(), abs=1e-6)
    assert filters.pictures[1] == pytest.approx((0.5 + 0.5 * blue.permute(1, 2, 0)).numpy(), abs=1e-6)
    assert filters.shares == pytest.approx([100 / 116, 16 / 116])  # 25 * 4 pixels against 1 * 16


def test_weights_of_zero_have_no_filters() -> None:
    model = tiny()
    torch.nn.init.zeros_(model.patchify.weight)
    assert len(patch_filters(model).pictures) == 0


@pytest.mark.parametrize("name", ["R26x0.25", "R26x0.25+mu/4"])
def test_of_a_resnet_it_is_the_root_convolution_as_it_is_used(name: str) -> None:
    model = create(name, image_size=16, classes=3)
    root = model.get_submodule("root" if "+" not in name else "patchify.stem.root")
    filters = patch_filters(model, count=2)
    assert filters.pictures.shape == (2, 7, 7, 3)
    with torch.no_grad():
        root.weight.mul_(3).add_(1)  # type: ignore[operator, union-attr]  # standardized away
    assert patch_filters(model, count=2).pictures == pytest.approx(filters.pictures, abs=1e-3)
