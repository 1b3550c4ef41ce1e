from __future__ import annotations

import numpy as np
import pytest
import torch
from sklearn.decomposition import PCA
from tiny_models import pictures, tiny

from vitrail.bundle import Bundle
from vitrail.data.preprocess import Preprocess
from vitrail.inspection.feature_colors import colored, feature_colors
from vitrail.models import create


def test_agrees_with_scikit_learn() -> None:
    features = np.random.default_rng(0).normal(size=(4, 6, 5, 3)) * np.array([9, 4, 2, 1, 0.5, 0.1])[:, None, None]
    colors, shares = colored(features)
    rows = features.transpose(0, 2, 3, 1).reshape(-1, 6)
    pca = PCA(3).fit(rows)
    assert shares == pytest.approx(pca.explained_variance_ratio_)
    along = pca.transform(rows)
    for channel in range(3):
        matched = np.corrcoef(colors[..., channel].ravel(), along[:, channel])[0, 1]
        assert abs(matched) > 0.99  # but for the cut at either end


def test_two_kinds_of_patches_have_two_colors_in_all_images() -> None:
    features = np.zeros((2, 4, 3, 3))
    features[:, 1, :, 0] = 5.0
    features[1, 1, 0] = 5.0
    colors, shares = colored(features)
    assert shares[0] == pytest.approx(1)
    assert colors[0, 0, 0] == pytest.approx(colors[1, 0, 2])
    assert colors[0, 0, 0, 0] == 1
    assert colors[0, 0, 2, 0] == 0
    assert (colors[..., 1:] == 0.5).all()  # nothing else differs


def test_patches_without_any_difference_are_grey() -> None:
    colors, shares = colored(np.ones((1, 2, 2, 2)))
    assert (colors == 0.5).all()
    assert (shares == 0).all()


def test_layers_of_a_transformer_and_of_a_resnet() -> None:
    found = feature_colors(Bundle(tiny(registers=2), Preprocess(size=(12, 8))), pictures(3), most_layers=2)
    assert found.layers == ("block 1", "block 3")
    assert [one.shape for one in found.pictures] == [(3, 3, 2, 3)] * 2
    resnet = create("R26x0.25", image_size=32, depths=(1, 2)).eval()
    found = feature_colors(Bundle(resnet, Preprocess(size=(32, 32))), pictures(2, (32, 32)))
    assert found.layers == ("unit 1.1", "unit 2.1", "unit 2.2")
    assert found.pictures[0].shape == (2, 8, 8, 3)
    assert found.pictures[2].shape == (2, 4, 4, 3)


def test_the_model_is_left_as_it_was() -> None:
    model = tiny().train()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    feature_colors(Bundle(model, Preprocess(size=(12, 8))), pictures())
    assert model.training
    assert all(torch.equal(before[name], value) for name, value in model.state_dict().items())
    assert not any(module._forward_hooks for module in model.modules())
