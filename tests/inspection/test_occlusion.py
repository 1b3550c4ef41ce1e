from __future__ import annotations

import numpy as np
import pytest
import torch
from seen_patch import SEEN, bright, looking_at_one_patch
from test_explained import bundle_of
from tiny_models import pictures

from vitrail.bundle import Bundle
from vitrail.data.preprocess import Preprocess
from vitrail.inspection.explained import explained
from vitrail.inspection.occlusion import Fill, filled, occlusion
from vitrail.inspection.panes import panes_of
from vitrail.models import create


@pytest.mark.parametrize("batch_size", [1, 4, 64])
def test_equals_covering_by_hand(batch_size: int) -> None:
    bundle, raw = bundle_of(), pictures(2)
    found = occlusion(explained(bundle, raw, target=1), batch_size=batch_size)
    images, whole = bundle.preprocess.normalize(raw), bundle.scores(raw)[:, 1]
    assert found.whole == pytest.approx(whole.numpy(), abs=1e-6)
    for row in range(3):
        for column in range(2):
            covered = images.clone()
            covered[:, :, 4 * row : 4 * row + 4, 4 * column : 4 * column + 4] = 0
            with torch.no_grad():
                falls = whole - bundle.model(covered).softmax(1)[:, 1]
            assert found.falls[:, row, column] == pytest.approx(falls.numpy(), abs=1e-5)


@pytest.mark.parametrize("fill", ["mean", "blur"])
def test_finds_the_one_patch_that_is_looked_at(fill: Fill) -> None:
    raw = torch.full((1, 3, 12, 8), 60, dtype=torch.uint8)
    raw[:, :, 4:8, :4] = 255
    falls = occlusion(explained(looking_at_one_patch(), raw, target=1), fill).falls[0]
    assert np.unravel_index(falls.argmax(), falls.shape) == SEEN
    assert falls.max() > 100 * np.abs(np.delete(falls.ravel(), falls.argmax())).max()


def test_windows_of_several_patches_where_there_are_many() -> None:
    found = occlusion(explained(bundle_of(), pictures(1)), most=2)
    assert found.panes.down == (0, 8, 12)
    assert found.falls.shape == (1, 2, 1)


@pytest.mark.parametrize(("name", "grid"), [("R26x0.25", (14, 8)), ("axial-R26x0.25", (14, 8)), ("axial-mu/4", (5, 2)),
                                            ("R+Ti/16", (1, 1))])
def test_every_family_and_rectangles(name: str, grid: tuple[int, int]) -> None:
    """Of a hybrid the smallest image is one patch of 32 x 32."""
    size = (32, 32) if name == "R+Ti/16" else (20, 8)
    torch.manual_seed(0)
    settings = {"width": 16, "depth": 1, "heads": 2, "mlp": 16} if "/" in name else {"depths": (1,)}
    model = create(name, image_size=size, classes=3, **settings).eval()  # type: ignore[arg-type]
    torch.nn.init.normal_(model.head.weight)  # type: ignore[arg-type, union-attr]
    found = occlusion(explained(Bundle(model, Preprocess(size=size)), bright(1).repeat(1, 1, 3, 4)[..., :size[0],
                                                                                                 :size[1]]))
    assert found.falls.shape == (1, *grid)
    assert np.isfinite(found.falls).all()
    assert found.falls.any()


def test_a_blur_keeps_plain_colors_and_removes_what_is_smaller_than_a_pane() -> None:
    panes = panes_of(bundle_of().model, pictures(1))
    plain = torch.full((1, 3, 12, 8), 0.7)
    assert torch.allclose(filled(plain, "blur", panes), plain, atol=1e-6)
    stripes = torch.ones(1, 3, 12, 8)
    stripes[..., ::2] = -1
    assert filled(stripes, "blur", panes).abs().max() < 0.1
    assert not filled(stripes, "mean", panes).any()


def test_a_model_that_says_the_same_of_every_image_needs_nothing() -> None:
    bundle = bundle_of()
    torch.nn.init.zeros_(bundle.model.get_submodule("head").weight)  # type: ignore[arg-type]
    assert not occlusion(explained(bundle, pictures())).falls.any()
